//! What was served lately, never staler than a second.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Site;
use super::cache::Cache;
use super::lookup::{Looked, Wanted, look_up};
use super::representation::{Form, Representation};
use super::resolve::Resolved;
use super::respond::{Action, Compressed, CompressedForms, Offer, respond};
use crate::base::job_pool::{Lane, Ticket};
use crate::http::exchange::Cx;
use crate::http::message::RequestHead;
use crate::http::negotiate::Coding;
use crate::service::coding::Coders;

/// What was found is not served when it is older than this.
const FRESH_FOR: Duration = Duration::from_secs(1);
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
    compressed: Rc<RefCell<CompressedForms>>,
    can_compress: bool,
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
    pub fn new(representation: Arc<Representation>, can_compress: bool) -> Hit {
        Hit { representation, compressed: Rc::default(), can_compress }
    }

    /// The same, to be sent in the forms that are there.
    pub fn without_compression(&self) -> Hit {
        Hit { can_compress: false, ..self.clone() }
    }

    /// Answers a request with it.
    pub fn respond(&self, request: &RequestHead<'_>, coders: &Coders, cx: &Cx<'_>) -> Action {
        let compressed = &self.compressed.borrow();
        let offer = Offer { representation: &self.representation, compressed, can_compress: self.can_compress };
        respond(request, &offer, coders, cx)
    }
}

impl Hot {
    /// Keeps at most `bytes_max` bytes and `files_max` open files.
    pub fn new(bytes_max: usize, files_max: usize) -> Hot {
        Hot { kept: RefCell::new(Cache::new(bytes_max, files_max)) }
    }

    /// Whether what is compressed can be kept, without which nothing is.
    pub fn can_compress(&self) -> bool {
        self.kept.borrow().is_enabled()
    }

    /// What is known of a path. If it is hot, it is looked up again before it is stale.
    pub fn known(&self, site: &Arc<Site>, resolved: &Resolved<'_>, cx: &Cx<'_>) -> Known {
        let mut kept = self.kept.borrow_mut();
        let key = resolved.key();
        let Some(entry) = kept.get(key) else { return Known::Nothing };
        if let Some(looked) = entry.refreshed()
            && !entry.accept(looked)
        {
            kept.remove(key);
            return Known::Nothing;
        }
        let age = cx.now.saturating_duration_since(entry.looked_at);
        if age >= REFRESH_AFTER && entry.refresh.is_none() {
            entry.start_refresh(site, resolved, cx);
        }
        if age < FRESH_FOR { Known::Fresh(entry.what.clone()) } else { Known::Stale(entry.what.clone()) }
    }

    /// Keeps what was found at `looked_at`. A version that is known already keeps what has been made of it.
    pub fn keep(&self, resolved: &Resolved<'_>, representation: Arc<Representation>, looked_at: Instant) -> Hit {
        let mut kept = self.kept.borrow_mut();
        let key = resolved.key();
        let can_compress = kept.is_enabled();
        if let Some(entry) = kept.get(key)
            && Arc::ptr_eq(&entry.what.representation, &representation)
        {
            entry.looked_at = entry.looked_at.max(looked_at);
            return entry.what.clone();
        }
        let (bytes, files) = (representation.memory_bytes() + 2 * key.len(), representation.open_files());
        let what = Hit::new(representation, can_compress);
        kept.insert(key, Kept { what: what.clone(), looked_at, refresh: None }, bytes, files);
        what
    }

    /// Forgets a path at which there is nothing any more.
    pub fn forget(&self, resolved: &Resolved<'_>) {
        self.kept.borrow_mut().remove(resolved.key());
    }

    /// Keeps a form that was made of `hit`; `None`: it would not have been smaller.
    pub fn keep_form(&self, resolved: &Resolved<'_>, hit: &Hit, coding: Coding, form: Option<Arc<Form>>) {
        let bytes = form.as_ref().map_or(0, |form| form.memory_bytes());
        let unmade = matches!(hit.compressed.borrow()[coding as usize], Compressed::Unmade);
        if unmade {
            hit.compressed.borrow_mut()[coding as usize] = form.map_or(Compressed::Useless, Compressed::Made);
            self.kept.borrow_mut().grow(resolved.key(), bytes);
        }
    }
}

impl Kept {
    fn start_refresh(&mut self, site: &Arc<Site>, resolved: &Resolved<'_>, cx: &Cx<'_>) {
        let wanted = Wanted::new(resolved, cx.date_secs, Some(Arc::clone(&self.what.representation)));
        let site = Arc::clone(site);
        // A full queue is no harm yet: the next request tries again.
        let ticket = cx.jobs.submit(Lane::Quick, cx.waker(), move || look_up(&site, &wanted));
        self.refresh = ticket.ok().map(|ticket| (cx.now, ticket));
    }

    /// What the refresh has found, if it is done, and when it was started.
    fn refreshed(&mut self) -> Option<(Instant, Looked)> {
        let (started, ticket) = self.refresh.as_mut()?;
        let (started, result) = (*started, ticket.take()?);
        self.refresh = None;
        Some((started, result.ok()?))
    }

    /// Whether the entry is still right: the same version is there. Anything else is found anew by whoever asks.
    fn accept(&mut self, (started, looked): (Instant, Looked)) -> bool {
        let same = matches!(looked, Looked::File(found) if Arc::ptr_eq(&found, &self.what.representation));
        self.looked_at = started;
        same
    }
}
