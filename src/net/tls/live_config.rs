//! With what the next handshake is made.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use log::Level;
use rustls::crypto::CryptoProvider;
use rustls::server::{ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{Error, KeyLog, NoKeyLog, ServerConfig};

use super::clients;
use super::files::{Files, Stamp, stamps};
use super::key_log::{KeyLogFile, KeyLogs};
use super::pair::{Pair, PairReader, mistake};
use super::provider::{fingerprint, provider, sha256, ticketer};
use super::selection::Selection;
use super::tickets::{CountedTickets, TicketNumbers};
use super::{CertificateFacts, Fault, FileKind, Mistake, Occasion, Offer, Session, TicketCounts, TlsOptions};

/// The protocols that may be offered by ALPN (RFC 7301), the preferred first.
pub(super) const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];
/// Sessions of TLS 1.2 that are kept for clients that resume them by their id (RFC 5246 §7.4.1.2), and not with a ticket.
const SESSIONS_MAX: usize = 1024;
/// Tickets that a client gets after each handshake, so that it can resume on two connections at a time (RFC 8446 §C.4).
const TICKETS: usize = 2;

/// The configuration for new handshakes, made of files. All listeners share it. Sessions keep the configuration that they
/// began with.
pub struct LiveConfig {
    options: TlsOptions,
    provider: Arc<CryptoProvider>,
    key_log: Arc<dyn KeyLog>,
    tickets: Arc<TicketNumbers>,
    current: Mutex<Current>,
    /// Locked while the files are looked at.
    watch: Mutex<Watch>,
}

struct Current {
    config: Arc<ServerConfig>,
    selection: Arc<Selection>,
    certificates: Vec<CertificateFacts>,
    /// A hash of those who issue the certificates of clients.
    authorities: Option<[u8; 32]>,
    resumption: Resumption,
}

/// What lets clients resume sessions. It is the same before and after a change of the server's certificates. It is new if
/// those who may issue certificates of clients: who resumes a session is not verified again.
#[derive(Clone)]
struct Resumption {
    ticketer: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Resumption {
    fn new(numbers: &Arc<TicketNumbers>) -> Result<Resumption, Error> {
        let ticketer = Arc::new(CountedTickets::new(ticketer()?, Arc::clone(numbers)));
        Ok(Resumption { ticketer, sessions: ServerSessionMemoryCache::new(SESSIONS_MAX) })
    }
}

/// What is known of the files.
struct Watch {
    /// As they were when they were last read.
    stamps: Vec<Stamp>,
    /// The contents in use.
    hash: [u8; 32],
    /// They are read at the next look, whatever their stamps say.
    again: bool,
    /// What was last said about files that could not be used.
    complaint: Option<String>,
}

impl fmt::Debug for LiveConfig {
    /// The rest has keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveConfig").field("options", &self.options).finish_non_exhaustive()
    }
}

impl LiveConfig {
    /// Reads all files. `warn` takes what the user should know although they can be used, a line each.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(options: TlsOptions, warn: &mut dyn FnMut(String)) -> Result<LiveConfig, Mistake> {
        let (provider, now) = (provider(), SystemTime::now());
        let (files, stood_still) = Files::read(&options.paths());
        let key_log = key_log(&options, warn)?;
        let tickets = Arc::default();
        let making =
            Making { options: &options, provider: &provider, key_log: &key_log, tickets: &tickets, files: &files };
        let current = making.make(None, warn)?;
        let again = !stood_still || files.are_fresh(now);
        let watch = Watch { stamps: files.stamps(), hash: files.hash(), again, complaint: None };
        Ok(LiveConfig { options, provider, key_log, tickets, current: Mutex::new(current), watch: Mutex::new(watch) })
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
            protocols: self.options.protocols(),
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
        let (mut watch, paths) = (lock(&self.watch), self.options.paths());
        if occasion == Occasion::Check && !watch.again && watch.stamps == stamps(&paths) {
            return Vec::new();
        }
        let (files, stood_still) = Files::read(&paths);
        watch.again = !stood_still || files.are_fresh(SystemTime::now());
        watch.stamps = files.stamps();
        let mut news = Vec::new();
        if files.hash() == watch.hash {
            let had_complaint = watch.complaint.take().is_some();
            if occasion == Occasion::Order || had_complaint {
                news.push((Level::Info, "TLS: the files were read again and are those in use".into()));
            }
            return news;
        }
        let LiveConfig { options, provider, key_log, tickets, .. } = self;
        let making = Making { options, provider, key_log, tickets, files: &files };
        let made = making.make(Some(&lock(&self.current)), &mut |line| news.push((Level::Warn, line)));
        match made {
            Ok(current) => {
                news.push((Level::Info, format!("TLS: new handshakes get what was read again: {}", told(&current))));
                *lock(&self.current) = current;
                (watch.hash, watch.complaint) = (files.hash(), None);
            }
            Err(mistake) => {
                watch.again = true;
                let complaint = format!("TLS: the files in use stay in use: {mistake}");
                // What was found on the way to a mistake will be said when that is mended.
                news.clear();
                if occasion == Occasion::Order || watch.complaint.as_ref() != Some(&complaint) {
                    news.push((Level::Error, complaint.clone()));
                }
                watch.complaint = Some(complaint);
            }
        }
        news
    }
}

/// Nobody panics while holding one of the locks; if somebody did, what it guards would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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

/// Who gets the keys. Opens the file for them, if one is wanted.
fn key_log(options: &TlsOptions, warn: &mut dyn FnMut(String)) -> Result<Arc<dyn KeyLog>, Mistake> {
    let capture = options.capture.clone();
    let Some(path) = &options.key_log else {
        return Ok(if capture.is_some() { Arc::new(KeyLogs { file: None, capture }) } else { Arc::new(NoKeyLog {}) });
    };
    let file = KeyLogFile::open(path).map_err(|problem| mistake(FileKind::KeyLog, path, problem))?;
    warn(format!("{}: it gets the keys of all TLS sessions: whoever reads it can decrypt them", path.display()));
    if fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0) {
        warn(format!("{}: other users of this machine may read or write it (chmod 600 forbids it)", path.display()));
    }
    Ok(Arc::new(KeyLogs { file: Some(file), capture }))
}

/// Of what a configuration is made.
struct Making<'a> {
    options: &'a TlsOptions,
    provider: &'a Arc<CryptoProvider>,
    key_log: &'a Arc<dyn KeyLog>,
    tickets: &'a Arc<TicketNumbers>,
    files: &'a Files,
}

impl Making<'_> {
    /// Makes what comes after the `last` one.
    fn make(&self, last: Option<&Current>, warn: &mut dyn FnMut(String)) -> Result<Current, Mistake> {
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
        let authorities = clients.and_then(|clients| self.files.content(&clients.authorities).ok()).map(sha256);
        let resumption = match last.filter(|last| last.authorities == authorities) {
            Some(last) => last.resumption.clone(),
            None => Resumption::new(self.tickets).map_err(|error| self.unusable(&error))?,
        };
        config.alpn_protocols = self.options.protocols().iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        // The client's wishes count only where we have none.
        config.ignore_client_order = true;
        config.send_tls13_tickets = TICKETS;
        config.ticketer = Arc::clone(&resumption.ticketer);
        config.session_storage = Arc::clone(&resumption.sessions);
        config.key_log = Arc::clone(self.key_log);
        let certificates = pairs.into_iter().map(|pair| pair.facts).collect();
        Ok(Current { config: Arc::new(config), selection, certificates, authorities, resumption })
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
