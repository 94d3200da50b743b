//! What the loop is told about how to work: at the start, and anew between two turns while it works.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use super::tls_upkeep::TlsUpkeep;
use super::upstream_upkeep::UpstreamUpkeep;
use super::{AccessLog, EventLoop};
use crate::base::job_name::{JobKind, JobName};
use crate::base::job_pool::{JobPool, QueueFull, Ticket};
use crate::base::limits::Limits;
use crate::base::wake::WakeKey;
use crate::connection::Telling;
use crate::http::forwarded::TrustedProxies;
use crate::net::Reactor;
use crate::net::tls::{LiveConfig, UpstreamTls};
use crate::protocol::h1::hsts::Hsts;
use crate::service::Service;
use crate::service::access::Refusals;
use crate::service::proxy::hub::Hub;
use crate::service::proxy::names::Resolve;

impl<R: Reactor, V: Service> EventLoop<R, V> {
    /// From now on these limits hold, also for connections that live: a deadline that is over by them has come. A connection of
    /// HTTP/2 keeps to what it has told its client. Returns the settings whose limits stay as they were.
    pub fn replace_limits(&mut self, limits: Limits) -> Vec<&'static str> {
        let (has_changed, kept) = self.context.replace_limits(limits);
        if has_changed {
            // Each is to look for its next deadline.
            self.queue_all();
        }
        kept
    }

    /// From now on every request that is over is noted in `access_log`, or in none. What was noted before is in the last one, which
    /// waits a moment for a reader that is slow.
    pub fn keep_access_log(&mut self, access_log: Option<AccessLog>) {
        if let Some(last) = &mut self.access_log {
            last.end();
        }
        self.context.notes_fields = access_log.as_ref().is_some_and(AccessLog::writes_fields);
        self.access_log = access_log;
    }

    /// From now on metrics tell of these.
    pub fn tell_refusals(&mut self, refusals: Rc<Refusals>) {
        self.refusals = Some(refusals);
    }

    /// From now on these proxies may name the client of a request.
    pub fn trust_proxies(&mut self, proxies: TrustedProxies) {
        self.context.environment.trusted_proxies = proxies;
    }

    /// From now on browsers are told over TLS to use nothing else for so many seconds, or are not told.
    pub fn insist_on_https(&mut self, seconds: Option<u32>) {
        self.context.environment.hsts = seconds.map(Hsts::new);
    }

    /// From now on responses tell this about their requests, if anything. Identifiers go on to begin as before.
    pub fn tell(&mut self, telling: Option<Telling>) {
        let last = self.context.environment.telling.take().and_then(|last| last.request_ids);
        self.context.environment.telling = telling.map(|mut telling| {
            if let (Some(ids), Some(last)) = (&mut telling.request_ids, &last) {
                ids.go_on_from(last);
            }
            Box::new(telling)
        });
    }

    /// From now on listeners for HTTPS use this, and the files that it is made of are looked at again and again. It must be there
    /// before such a listener is. [`LiveConfig::take`] replaces what it has.
    pub fn keep_tls(&mut self, config: Arc<LiveConfig>) {
        self.tls = Some(TlsUpkeep::new(config, self.reactor.moment()));
    }

    /// From now on connections are made to the upstreams of this hub. Those that have TLS get it with `tls`, and `resolve`,
    /// which may block, finds the addresses of a name. [`Hub::replace`] replaces its routes.
    pub fn reach_upstreams(&mut self, hub: Rc<Hub>, tls: Option<UpstreamTls>, resolve: Resolve) {
        self.upstreams = Some(UpstreamUpkeep::new(hub, tls, resolve, self.reactor.moment()));
    }

    /// From now on new connections to upstreams get TLS with this. Those that there are go on.
    pub fn secure_upstreams(&mut self, tls: UpstreamTls) {
        if let Some(upstreams) = &mut self.upstreams {
            upstreams.tls = Some(TlsUpkeep::new(Arc::new(tls), self.reactor.moment()));
        }
    }

    /// From now on these threads run the jobs, if there were none so far. Threads that there are go on.
    pub fn use_threads(&mut self, threads: impl FnOnce() -> io::Result<JobPool>) -> io::Result<()> {
        if !self.context.environment.jobs.has_threads() {
            self.context.environment.jobs = threads()?;
        }
        Ok(())
    }

    /// Has a job do this, which may block, to `subject`. When it is done, the loop turns, and the ticket has the result.
    ///
    /// # Errors
    /// As many jobs as may wait are waiting already.
    pub fn run_job<T: Send + 'static>(
        &self,
        kind: JobKind,
        subject: &[u8],
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Ticket<T>, QueueFull> {
        let jobs = &self.context.environment.jobs;
        jobs.submit(JobName::new(kind, subject, None), self.wakes.waker(WakeKey::NOBODY), work)
    }
}
