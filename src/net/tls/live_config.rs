//! With what the next handshake is made.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use log::Level;
use rustls::crypto::CryptoProvider;
use rustls::server::{ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{Error, ServerConfig};

use super::clients;
use super::files::Files;
use super::pair::{Pair, PairReader, mistake};
use super::provider::{fingerprint, provider, sha256, ticketer};
use super::selection::Selection;
use super::tickets::{CountedTickets, TicketNumbers};
use super::watch::Watch;
use super::{
    CertificateFacts, ClientAuthentication, Fault, FileKind, Mistake, Occasion, Offer, Session, TicketCounts,
    TlsOptions,
};

/// The protocols that may be offered by ALPN (RFC 7301), the preferred first.
pub(super) const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];
/// Sessions of TLS 1.2 that are kept for clients that resume them by their id (RFC 5246 §7.4.1.2), and not with a ticket.
const SESSIONS_MAX: usize = 1024;
/// Tickets that a client gets after each handshake, so that it can resume on two connections at a time (RFC 8446 §C.4).
const TICKETS: usize = 2;

/// The configuration for new handshakes, made of files. All listeners share it. Sessions keep the configuration that they
/// began with.
pub struct LiveConfig {
    provider: Arc<CryptoProvider>,
    tickets: Arc<TicketNumbers>,
    current: Mutex<Current>,
    /// Locked while the files are looked at.
    sources: Mutex<Sources>,
    /// What takes the place of those at the next look.
    next_sources: Mutex<Option<Sources>>,
}

/// What the configuration is made of.
struct Sources {
    options: TlsOptions,
    watch: Watch,
    /// How many others were taken before them.
    generation: u64,
}

struct Current {
    config: Arc<ServerConfig>,
    selection: Arc<Selection>,
    certificates: Vec<CertificateFacts>,
    protocols: &'static [&'static str],
    resumption: Resumption,
    /// That of what it was made of.
    generation: u64,
}

/// A configuration that was made, and that nobody uses so far: see [`LiveConfig::prepare`].
pub struct NextConfig {
    sources: Sources,
    current: Current,
}

/// What is asked of clients: whether they need a certificate, and a hash of those who may issue it.
type Asked = Option<(ClientAuthentication, [u8; 32])>;

/// What lets clients resume sessions. It is the same before and after a change of the server's certificates. It is new if
/// something else is asked of clients: who resumes a session is not asked again.
#[derive(Clone)]
struct Resumption {
    asked: Asked,
    ticketer: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Resumption {
    fn new(asked: Asked, numbers: &Arc<TicketNumbers>) -> Result<Resumption, Error> {
        let ticketer = Arc::new(CountedTickets::new(ticketer()?, Arc::clone(numbers)));
        Ok(Resumption { asked, ticketer, sessions: ServerSessionMemoryCache::new(SESSIONS_MAX) })
    }
}

impl fmt::Debug for LiveConfig {
    /// The rest has keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveConfig").finish_non_exhaustive()
    }
}

impl LiveConfig {
    /// Reads all files. `warn` takes what the user should know although they can be used, a line each.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(options: TlsOptions, warn: &mut dyn FnMut(String)) -> Result<LiveConfig, Mistake> {
        let (provider, tickets) = (provider(), Arc::default());
        let NextConfig { sources, current } = NextConfig::make(options, &provider, &tickets, None, warn)?;
        Ok(LiveConfig {
            provider,
            tickets,
            current: Mutex::new(current),
            sources: Mutex::new(sources),
            next_sources: Mutex::default(),
        })
    }

    /// Reads all files of other `options`, and makes what [`LiveConfig::take`] takes into use. Clients can resume their sessions
    /// as before, unless other certificates are asked of them. This waits for the disk. `warn` as in [`LiveConfig::load`].
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn prepare(&self, options: TlsOptions, warn: &mut dyn FnMut(String)) -> Result<NextConfig, Mistake> {
        NextConfig::make(options, &self.provider, &self.tickets, Some(self.resumption()), warn)
    }

    /// From now on handshakes begin with this, and its files are those that are looked at. Connections that there are go on. It waits
    /// for nothing: a job that looks at the files just now changes nothing any more.
    pub fn take(&self, next: NextConfig) {
        let NextConfig { mut sources, current: mut taken } = next;
        let mut current = lock(&self.current);
        let generation = current.generation + 1;
        (sources.generation, taken.generation) = (generation, generation);
        *current = taken;
        *lock(&self.next_sources) = Some(sources);
    }

    fn resumption(&self) -> Resumption {
        lock(&self.current).resumption.clone()
    }

    /// A session for a connection that begins now.
    ///
    /// # Errors
    /// Never, with a configuration that could be loaded.
    pub fn session(&self) -> Result<Session, Fault> {
        Session::new(self.current())
    }

    /// The configuration for a handshake that begins now.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&lock(&self.current).config)
    }

    /// The certificates in use, in the order of the options.
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        lock(&self.current).certificates.clone()
    }

    /// What a client gets that sends this server name, or none.
    pub fn offer(&self, name: Option<&str>) -> Offer {
        let current = lock(&self.current);
        let facts_of = |pair: &Arc<CertifiedKey>| {
            let fingerprint = fingerprint(&pair.cert[0]);
            current.certificates.iter().find(|facts| facts.fingerprint == fingerprint).cloned()
        };
        let candidates = current.selection.candidates(name);
        Offer {
            is_known: name.is_some_and(|name| current.selection.knows(name)),
            certificates: candidates.map(|pairs| pairs.into_iter().filter_map(facts_of).collect()),
            protocols: current.protocols,
        }
    }

    /// What became of the tickets that clients have sent, since the start.
    pub fn tickets(&self) -> TicketCounts {
        self.tickets.counts()
    }

    /// Looks at the files, and reads them if they have changed or the `occasion` asks for it. What cannot be used, such as a
    /// certificate whose new key is not there yet, changes nothing and is tried again at the next look. This waits for the
    /// disk. Returns what is to be logged.
    pub fn refresh(&self, occasion: Occasion) -> Vec<(Level, String)> {
        let LiveConfig { provider, tickets, .. } = self;
        let mut sources = lock(&self.sources);
        if let Some(next) = lock(&self.next_sources).take() {
            *sources = next;
        }
        let Sources { options, watch, generation } = &mut *sources;
        watch.look(&options.paths(), occasion, |files, warn| {
            let making = Making { options, provider, tickets, files };
            let next = making.make(Some(self.resumption()), warn).map_err(|mistake| mistake.to_string())?;
            let mut current = lock(&self.current);
            if current.generation != *generation {
                return Err("others were taken into use meanwhile".into());
            }
            *current = Current { generation: *generation, ..next };
            Ok(told(&current))
        })
    }
}

impl NextConfig {
    fn make(
        options: TlsOptions,
        provider: &Arc<CryptoProvider>,
        tickets: &Arc<TicketNumbers>,
        last: Option<Resumption>,
        warn: &mut dyn FnMut(String),
    ) -> Result<NextConfig, Mistake> {
        let (files, stood_still) = Files::read(&options.paths());
        let current = Making { options: &options, provider, tickets, files: &files }.make(last, warn)?;
        let watch = Watch::new("TLS", &files, stood_still);
        Ok(NextConfig { sources: Sources { options, watch, generation: 0 }, current })
    }

    /// The certificates that it has, in the order of the options.
    pub fn certificates(&self) -> &[CertificateFacts] {
        &self.current.certificates
    }
}

/// Nobody panics while holding one of the locks; if somebody did, what it guards would still be whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn told(current: &Current) -> String {
    let subjects: Vec<&str> = current.certificates.iter().map(|facts| facts.subject.as_str()).collect();
    subjects.join("; ")
}

impl TlsOptions {
    /// All files, each once.
    fn paths(&self) -> Vec<&Path> {
        let mut paths: Vec<&Path> = Vec::new();
        let of_pairs = self.pairs.iter().flat_map(|pair| [pair.certificate.as_path(), pair.key.as_path()]);
        for path in of_pairs.chain(self.clients.iter().map(|clients| clients.authorities.as_path())) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }

    /// Those of `PROTOCOLS` that are offered.
    fn protocols(&self) -> &'static [&'static str] {
        if self.offers_http2 { &PROTOCOLS } else { &PROTOCOLS[1..] }
    }
}

/// Of what a configuration is made.
struct Making<'a> {
    options: &'a TlsOptions,
    provider: &'a Arc<CryptoProvider>,
    tickets: &'a Arc<TicketNumbers>,
    files: &'a Files,
}

impl Making<'_> {
    /// Makes what comes after the one that had this for resuming sessions.
    fn make(&self, last: Option<Resumption>, warn: &mut dyn FnMut(String)) -> Result<Current, Mistake> {
        let pairs = self.pairs(warn)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(self.provider));
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).map_err(|error| self.unusable(&error))?;
        let clients = self.options.clients.as_ref();
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(clients::verifier(clients, self.provider, self.files)?),
            None => builder.with_no_client_auth(),
        };
        let selection = Arc::new(Selection::new(&pairs, self.options.strict_sni));
        let mut config = builder.with_cert_resolver(Arc::clone(&selection) as Arc<dyn ResolvesServerCert>);
        let asked = clients.and_then(|clients| {
            let authorities = self.files.content(&clients.authorities).ok()?;
            Some((clients.authentication, sha256(authorities)))
        });
        let resumption = match last.filter(|last| last.asked == asked) {
            Some(last) => last,
            None => Resumption::new(asked, self.tickets).map_err(|error| self.unusable(&error))?,
        };
        let protocols = self.options.protocols();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        // The client's wishes count only where we have none.
        config.ignore_client_order = true;
        config.send_tls13_tickets = TICKETS;
        config.ticketer = Arc::clone(&resumption.ticketer);
        config.session_storage = Arc::clone(&resumption.sessions);
        config.key_log = self.options.keys.key_log();
        let certificates = pairs.into_iter().map(|pair| pair.facts).collect();
        Ok(Current { config: Arc::new(config), selection, certificates, protocols, resumption, generation: 0 })
    }

    /// All pairs, each certificate once: the same one again would never be chosen, and have the name of the first in reports.
    fn pairs(&self, warn: &mut dyn FnMut(String)) -> Result<Vec<Pair>, Mistake> {
        // A file may belong to several pairs. What is to be said of it is said once.
        let mut said = HashSet::new();
        let warn = &mut |line: String| {
            if said.insert(line.clone()) {
                warn(line);
            }
        };
        let mut reader = PairReader { provider: self.provider, files: self.files, now: SystemTime::now(), warn };
        let pairs: Result<Vec<Pair>, Mistake> = self.options.pairs.iter().map(|files| reader.read(files)).collect();
        let (mut pairs, mut seen) = (pairs?, HashSet::new());
        pairs.retain(|pair| seen.insert(pair.facts.file.clone()));
        Ok(pairs)
    }

    /// What is no file's fault is told with the first of them.
    fn unusable(&self, error: &Error) -> Mistake {
        let file = self.options.pairs.first().map(|pair| pair.certificate.clone()).unwrap_or_default();
        mistake(FileKind::Certificate, &file, error.to_string())
    }
}

#[cfg(test)]
mod tests;
