//! What was served lately, never staler than a second.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Store;
use super::cache::Cache;
use super::lookup::{Looked, Wanted, look_up};
use super::representation::{Form, Representation};
use super::resolve::Resolved;
use super::respond::{Action, MadeForm, MadeForms, Making, Offer, respond};
use crate::base::job_name::JobKind;
use crate::base::job_pool::Ticket;
use crate::http::exchange::Cx;
use crate::http::message::RequestHead;
use crate::http::negotiate::Coding;
use crate::service::coding::Coders;

/// What was found is not served when it is older than this.
pub const FRESH_FOR: Duration = Duration::from_secs(1);
/// What is requested at this age is looked up again meanwhile, so that requests for hot files never wait for it.
const REFRESH_AFTER: Duration = Duration::from_millis(500);

/// Representations by path.
pub struct Hot {
    kept: RefCell<Cache<Kept>>,
}

struct Kept {
    what: Hit,
    /// When the file system was asked.
    looked_at: Instant,
    refresh: Option<(Instant, Ticket<Looked>)>,
}

/// A representation, with what has been made of it.
#[derive(Clone)]
pub struct Hit {
    /// What was found.
    pub representation: Arc<Representation>,
    made: Rc<RefCell<MadeForms>>,
    making: Making,
}

/// What is known of a path.
pub enum Known {
    /// This, and it may be served.
    Fresh(Hit),
    /// This was there a while ago.
    Stale(Hit),
    /// Nothing.
    Nothing,
}

impl Hit {
    /// A representation that nothing has been made of.
    pub fn new(representation: Arc<Representation>, making: Making) -> Hit {
        Hit { representation, made: Rc::default(), making }
    }

    /// The same, to be sent in the forms that are there.
    pub fn without_making(&self) -> Hit {
        Hit { making: Making::Nothing, ..self.clone() }
    }

    /// Answers a request with it.
    pub fn respond(&self, request: &RequestHead<'_>, coders: &Coders, cx: &Cx<'_>) -> Action {
        let offer = Offer { representation: &self.representation, made: &self.made.borrow(), making: self.making };
        respond(request, &offer, coders, cx)
    }
}

impl Hot {
    /// Keeps at most `bytes_max` bytes and `files_max` open files.
    pub fn new(bytes_max: usize, files_max: usize) -> Hot {
        Hot { kept: RefCell::new(Cache::new(bytes_max, files_max)) }
    }

    /// What can be made of a representation: nothing is compressed that cannot be kept.
    pub fn making(&self) -> Making {
        if self.kept.borrow().is_enabled() { Making::All } else { Making::Tags }
    }

    /// What is known of a path. If it is hot, it is looked up again before it is stale.
    pub fn known(&self, store: &Arc<Store>, resolved: &Resolved<'_>, cx: &Cx<'_>) -> Known {
        let mut kept = self.kept.borrow_mut();
        let key = resolved.key();
        let Some(entry) = kept.get(key) else { return Known::Nothing };
        if let Some((started, looked)) = entry.refreshed()
            && !entry.accept(started, &looked)
        {
            kept.remove(key);
            let Some(Looked::File(other)) = looked else { return Known::Nothing };
            drop(kept);
            // It is young enough, but for a disk that stalls: then whoever asks looks again.
            let hit = self.keep(resolved, other, started);
            let is_fresh = cx.now.saturating_duration_since(started) < FRESH_FOR;
            return if is_fresh { Known::Fresh(hit) } else { Known::Stale(hit) };
        }
        let age = cx.now.saturating_duration_since(entry.looked_at);
        if age >= REFRESH_AFTER && entry.refresh.is_none() {
            entry.start_refresh(store, resolved, cx);
        }
        if age < FRESH_FOR { Known::Fresh(entry.what.clone()) } else { Known::Stale(entry.what.clone()) }
    }

    /// Keeps what was found at `looked_at`, unless something later is known. A version that is known already keeps what
    /// has been made of it.
    pub fn keep(&self, resolved: &Resolved<'_>, representation: Arc<Representation>, looked_at: Instant) -> Hit {
        let mut kept = self.kept.borrow_mut();
        let key = resolved.key();
        if let Some(entry) = kept.get(key) {
            let same = Arc::ptr_eq(&entry.what.representation, &representation);
            if same || entry.looked_at > looked_at {
                entry.looked_at = entry.looked_at.max(looked_at);
                return entry.what.clone();
            }
        }
        let (bytes, files) = (representation.memory_bytes() + 2 * key.len(), representation.open_files());
        let making = if kept.is_enabled() { Making::All } else { Making::Tags };
        let what = Hit::new(representation, making);
        kept.insert(key, Kept { what: what.clone(), looked_at, refresh: None }, bytes, files);
        what
    }

    /// How many bytes are kept.
    #[cfg(test)]
    pub fn kept_bytes(&self) -> usize {
        self.kept.borrow().bytes()
    }

    /// Forgets a path at which there is nothing any more.
    pub fn forget(&self, resolved: &Resolved<'_>) {
        self.kept.borrow_mut().remove(resolved.key());
    }

    /// Keeps a form that was made of `hit`; `None`: it was of no use.
    pub fn keep_form(&self, resolved: &Resolved<'_>, hit: &Hit, coding: Coding, form: Option<Arc<Form>>) {
        let bytes = form.as_ref().map_or(0, |form| form.memory_bytes());
        let unmade = matches!(hit.made.borrow()[coding as usize], MadeForm::Unmade);
        if unmade {
            hit.made.borrow_mut()[coding as usize] = form.map_or(MadeForm::Useless, MadeForm::Made);
            let mut kept = self.kept.borrow_mut();
            // Another version may have taken its place meanwhile.
            if kept.get(resolved.key()).is_some_and(|entry| Rc::ptr_eq(&entry.what.made, &hit.made)) {
                kept.grow(resolved.key(), bytes);
            }
        }
    }
}

impl Kept {
    fn start_refresh(&mut self, store: &Arc<Store>, resolved: &Resolved<'_>, cx: &Cx<'_>) {
        let wanted = Wanted::new(resolved, cx.date_secs, Some(Arc::clone(&self.what.representation)));
        let store = Arc::clone(store);
        // A full queue is no harm yet: the next request tries again.
        let ticket = cx.submit(JobKind::Refresh, &resolved.shown(), move || look_up(&store, &wanted));
        self.refresh = ticket.ok().map(|ticket| (cx.now, ticket));
    }

    /// When the refresh was started and what it has found, if it is done; nothing if its job died.
    fn refreshed(&mut self) -> Option<(Instant, Option<Looked>)> {
        let (started, ticket) = self.refresh.as_mut()?;
        let (started, result) = (*started, ticket.take()?);
        self.refresh = None;
        Some((started, result.ok()))
    }

    /// Whether the entry is still right: the same version is there. Then it is as old as the look.
    fn accept(&mut self, started: Instant, looked: &Option<Looked>) -> bool {
        let same = matches!(looked, Some(Looked::File(found)) if Arc::ptr_eq(found, &self.what.representation));
        if same {
            self.looked_at = self.looked_at.max(started);
        }
        same
    }
}
