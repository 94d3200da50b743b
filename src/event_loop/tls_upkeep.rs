//! The files of TLS are looked at again and again, by jobs.

use std::sync::Arc;
use std::time::Duration;

use log::Level;

use crate::base::job_name::{JobKind, JobName};
use crate::base::job_pool::{JobPool, Ticket};
use crate::base::moment::Moment;
use crate::base::wake::{WakeKey, Wakes};
use crate::net::tls::{LiveConfig, Occasion, UpstreamTls};

/// The time from one look to the next.
const INTERVAL: Duration = Duration::from_secs(10);
/// The time to the next attempt if no job could be started.
const PAUSE: Duration = Duration::from_secs(1);

/// What is made of files, and made anew of them.
pub(super) trait OfFiles: Send + Sync + 'static {
    /// Looks at the files. This waits for the disk. Returns what is to be logged.
    fn refresh(&self, occasion: Occasion) -> Vec<(Level, String)>;
}

impl OfFiles for LiveConfig {
    fn refresh(&self, occasion: Occasion) -> Vec<(Level, String)> {
        LiveConfig::refresh(self, occasion)
    }
}

impl OfFiles for UpstreamTls {
    fn refresh(&self, occasion: Occasion) -> Vec<(Level, String)> {
        UpstreamTls::refresh(self, occasion)
    }
}

/// When the files are looked at next, and whether a job is doing it.
pub(super) struct TlsUpkeep<C> {
    config: Arc<C>,
    due: Moment,
    occasion: Occasion,
    job: Option<Ticket<()>>,
}

impl<C: OfFiles> TlsUpkeep<C> {
    pub(super) fn new(config: Arc<C>, now: Moment) -> TlsUpkeep<C> {
        TlsUpkeep { config, due: now + INTERVAL, occasion: Occasion::Check, job: None }
    }

    /// What new handshakes are made with.
    pub(super) fn config(&self) -> &C {
        &self.config
    }

    /// Looks at the files as soon as possible, and reads them in any case.
    pub(super) fn order(&mut self, now: Moment) {
        (self.due, self.occasion) = (now, Occasion::Order);
    }

    pub(super) fn due(&self) -> Moment {
        self.due
    }

    /// Starts a job if it is time, and if the last one is done: a disk that is stalled must not have more of them.
    pub(super) fn look(&mut self, now: Moment, jobs: &JobPool, wakes: &Wakes) {
        if now < self.due {
            return;
        }
        self.due = now + PAUSE;
        if self.job.as_mut().is_some_and(|job| job.take().is_none()) {
            return;
        }
        let (config, occasion) = (Arc::clone(&self.config), self.occasion);
        let job = move || {
            for (level, line) in config.refresh(occasion) {
                log::log!(level, "{line}");
            }
        };
        let name = JobName::new(JobKind::Certificates, b"", None);
        self.job = jobs.submit(name, wakes.waker(WakeKey::NOBODY), job).ok();
        if self.job.is_some() {
            (self.due, self.occasion) = (now + INTERVAL, Occasion::Check);
        }
    }
}
