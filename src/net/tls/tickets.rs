//! Tickets, counted: whether clients come back in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::server::ProducesTickets;

use super::TicketCounts;

/// What became of tickets. Configurations come and go; these numbers stay.
#[derive(Debug, Default)]
pub(super) struct TicketNumbers {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl TicketNumbers {
    pub(super) fn counts(&self) -> TicketCounts {
        TicketCounts { hits: self.hits.load(Ordering::Relaxed), misses: self.misses.load(Ordering::Relaxed) }
    }
}

/// Counts the tickets that are read.
#[derive(Debug)]
pub(super) struct CountedTickets {
    inner: Arc<dyn ProducesTickets>,
    numbers: Arc<TicketNumbers>,
}

impl CountedTickets {
    pub(super) fn new(inner: Arc<dyn ProducesTickets>, numbers: Arc<TicketNumbers>) -> CountedTickets {
        CountedTickets { inner, numbers }
    }
}

impl ProducesTickets for CountedTickets {
    fn enabled(&self) -> bool {
        self.inner.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let plain = self.inner.decrypt(cipher);
        let number = if plain.is_some() { &self.numbers.hits } else { &self.numbers.misses };
        number.fetch_add(1, Ordering::Relaxed);
        plain
    }
}
