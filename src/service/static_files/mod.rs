//! Files beneath a root.
//!
//! What is hot is answered at once, from memory. Everything else is an exchange that waits for a job: nothing here
//! asks the file system on the event loop. Start at [`StaticFiles::call`], then `serving.rs` for what waits, `lookup.rs`
//! for what jobs find, and `respond.rs` for what is said about it.

pub mod cache;
pub mod compress;
mod error_page;
mod explain;
mod fallback;
pub mod field_rules;
mod hot;
pub mod listing;
mod listings;
mod locate;
mod lookup;
mod pages;
mod representation;
mod resolve;
mod respond;
mod serving;
mod tag;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

use fallback::Reason;
use field_rules::FieldRules;
use hot::{Hit, Hot, Known};
use listings::Listings;
use resolve::{Resolved, Unresolved, resolve};
use respond::Action;
use serving::{Jobs, Serving};
use tag::Digests;

pub use locate::sibling_extension;
pub use resolve::other_spelling;

use crate::base::disk::RootPath;
use crate::http::body::Failure;
use crate::http::exchange::{Cx, Reply};
use crate::http::media_type::MediaTypes;
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::service::Service;
use crate::service::coding::{CODED_BYTES_MIN, Coders};

/// What is served, and how. Shared with the job threads.
#[derive(Debug)]
pub struct Site {
    /// Where the files are.
    pub root: RootPath,
    /// The name of the one file beneath the root that is served, at `/` and under its name; `None`: all are.
    pub only: Option<Vec<u8>>,
    /// What they are, by their names.
    pub media_types: MediaTypes,
    /// Names of files that are served for a directory: the first that is there.
    pub index: Vec<Vec<u8>>,
    /// The page that is served for paths that do not exist, for single-page applications; not to those who load an asset.
    pub spa: Option<Vec<u8>>,
    /// Whether pages have addresses without `.html`, and index files those of their directories.
    pub try_html: bool,
    /// Whether directories without an index file are listed.
    pub browse: bool,
    /// Whether names that begin with a dot are served and listed.
    pub show_hidden: bool,
    /// Whether files are compressed for those who accept it. Compressed siblings are sent in any case: they were made for that.
    pub compresses: bool,
    /// Which fields are added to what.
    pub field_rules: FieldRules,
    /// How many bytes may be kept in memory of what was served; 0 keeps nothing, and compresses nothing.
    pub cache_bytes_max: usize,
    /// How many open files may be kept of what was served: the large ones.
    pub cached_files_max: usize,
}

impl Site {
    /// A site of everything beneath `root` that asks for nothing else: `index.html` is the page of its directory, and up to
    /// 32 MiB and 100 open files are kept of what was served.
    pub fn new(root: RootPath) -> Site {
        Site {
            root,
            only: None,
            media_types: MediaTypes::default(),
            index: vec![b"index.html".to_vec()],
            spa: None,
            try_html: false,
            browse: false,
            show_hidden: false,
            compresses: true,
            field_rules: FieldRules::default(),
            cache_bytes_max: 32 << 20,
            cached_files_max: 100,
        }
    }
}

/// Lengths of files that are compressed as a whole when they are asked for, in bytes: shorter ones gain nothing, and longer
/// ones would keep a thread busy for too long. Those are coded while they are sent.
fn compress_lengths() -> RangeInclusive<u64> {
    CODED_BYTES_MIN..=8 * 1024 * 1024
}

/// Files that are there in a coded form alone are decoded for those who want that, up to this many bytes.
const DECODED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The service. Clones share what was learnt about the files.
#[derive(Clone)]
pub struct StaticFiles {
    shared: Rc<Shared>,
}

/// The site, and what was learnt about its files. Shared with the job threads.
#[derive(Debug)]
struct Store {
    site: Site,
    digests: Digests,
}

/// What a request and those that wait for jobs have in common.
struct Shared {
    store: Arc<Store>,
    hot: Hot,
    listings: Listings,
    jobs: Jobs,
    coders: Coders,
}

impl StaticFiles {
    /// Serves this site.
    pub fn new(site: Site) -> StaticFiles {
        StaticFiles::with_coders(site, Coders::default())
    }

    /// The same. What is not compressed as a whole is coded by these.
    pub fn with_coders(site: Site, coders: Coders) -> StaticFiles {
        let hot = Hot::new(site.cache_bytes_max, site.cached_files_max);
        let store = Arc::new(Store { site, digests: Digests::default() });
        let (listings, jobs) = (Listings::default(), Jobs::new());
        let shared = Shared { store, hot, listings, jobs, coders };
        StaticFiles { shared: Rc::new(shared) }
    }
}

impl Shared {
    /// Whether this is the page for paths that do not exist, and not for this request. Of a file that is there, the request
    /// is not even looked at.
    fn refuses(&self, hit: &Hit, request: &RequestHead<'_>, resolved: Option<&Resolved<'_>>) -> bool {
        hit.representation.common.is_fallback
            && resolved.is_some_and(|resolved| {
                !Reason::of(request.fields, resolved.key(), &self.store.site.media_types).is_for_page()
            })
    }

    /// What is no file gets the site's fields here.
    #[inline]
    fn finish(&self, response: &mut Response, request: &RequestHead<'_>, resolved: Option<&Resolved<'_>>) {
        if response.prepared.is_empty() && !self.store.site.field_rules.is_empty() {
            self.add_site_fields(response, request, resolved);
        }
    }

    #[cold]
    fn add_site_fields(&self, response: &mut Response, request: &RequestHead<'_>, resolved: Option<&Resolved<'_>>) {
        let path = resolved.map(|resolved| [b"/", resolved.key()].concat());
        self.store.site.field_rules.add_to(response, path.as_deref().unwrap_or(request.target.path));
    }
}

impl Service for StaticFiles {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        self.respond_to(request, cx)
    }
}

impl StaticFiles {
    /// Decides what becomes of this request.
    pub fn respond_to(&self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        let resolved = resolve(request.target.path, self.shared.store.site.show_hidden);
        if let Some(mut response) = pages::for_method(request) {
            self.shared.finish(&mut response, request, resolved.as_ref().ok());
            return Ok(Reply::Respond(response));
        }
        let resolved = match resolved {
            Ok(resolved) => Some(resolved),
            Err(Unresolved::Hidden) => None,
            Err(Unresolved::Malformed(_)) => {
                let mut response = pages::error(request, Status::BAD_REQUEST);
                self.shared.finish(&mut response, request, None);
                return Ok(Reply::Respond(response));
            }
        };
        let known = match &resolved {
            Some(resolved) => self.shared.hot.known(&self.shared.store, resolved, cx),
            None => Known::Nothing,
        };
        if let Known::Fresh(hit) = &known
            && !self.shared.refuses(hit, request, resolved.as_ref())
        {
            let mut action = hit.respond(request, &self.shared.coders, cx);
            if let Action::Respond(response) = &mut action {
                self.shared.finish(response, request, resolved.as_ref());
            }
            if let Action::Respond(response) = action {
                return Ok(Reply::Respond(response));
            }
        }
        Ok(Reply::Decide(Box::new(Serving::new(&self.shared, request, resolved.map(Resolved::into_owned), known))))
    }
}
