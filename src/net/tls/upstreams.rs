//! TLS to upstreams: there we are the client.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use log::Level;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::files::Files;
use super::live_config::lock;
use super::provider::provider;
use super::watch::Watch;
use super::{Fault, Occasion, Session, SessionKeys, authorities};

/// Sessions that are kept to be resumed. Each server name has up to eight of them, the newest.
const SESSIONS_MAX: usize = 256;
/// What the files are for, as it is logged.
const SUBJECT: &str = "TLS to upstreams";

/// With what TLS to upstreams is made. All event loops share it.
pub struct UpstreamTls {
    /// The file that says who may have issued the certificates of upstreams; `None`: the system does.
    authorities: Option<PathBuf>,
    keys: SessionKeys,
    current: Mutex<Arc<ClientConfig>>,
    /// Locked while the file is looked at.
    watch: Mutex<Option<Watch>>,
}

impl UpstreamTls {
    /// Reads who may have issued the certificates of upstreams: the `authorities` in this PEM file, or those that the system
    /// trusts. The keys of sessions go to `keys`. This waits for the disk.
    ///
    /// # Errors
    /// What is wrong with the file, without its name; or that the system trusts nobody.
    pub fn load(authorities: Option<&Path>, keys: SessionKeys) -> Result<UpstreamTls, String> {
        let (roots, watch) = match authorities {
            Some(path) => {
                let (files, stood_still) = Files::read(&[path]);
                let roots = files.content(path).and_then(authorities::in_pem)?;
                (roots, Some(Watch::new(SUBJECT, &files, stood_still)))
            }
            None => (authorities::of_system()?, None),
        };
        let current = Mutex::new(config(roots, &[&TLS13, &TLS12], &keys)?);
        Ok(UpstreamTls { authorities: authorities.map(Path::to_path_buf), keys, current, watch: Mutex::new(watch) })
    }

    /// Reads anew who may have issued the certificates of upstreams: a file if it has changed or the `occasion` asks for it, the
    /// system's files only then. New connections get what it finds. What cannot be used changes nothing. This waits for the disk.
    /// Returns what is to be logged.
    pub fn refresh(&self, occasion: Occasion) -> Vec<(Level, String)> {
        match (&self.authorities, &mut *lock(&self.watch)) {
            (Some(path), Some(watch)) => watch.look(&[path], occasion, |files, _| {
                let named = |problem| format!("{}: {problem}", path.display());
                self.trust(files.content(path).and_then(authorities::in_pem).map_err(named)?)
            }),
            _ if occasion == Occasion::Check => Vec::new(),
            _ => vec![match authorities::of_system().and_then(|roots| self.trust(roots)) {
                Ok(told) => (Level::Info, format!("{SUBJECT}: new handshakes get what was read again: {told}")),
                Err(problem) => (Level::Error, format!("{SUBJECT}: the files in use stay in use: {problem}")),
            }],
        }
    }

    /// New connections trust these. Sessions of others are not resumed: nobody would look at their certificates again.
    fn trust(&self, roots: RootCertStore) -> Result<String, String> {
        let count = roots.len();
        *lock(&self.current) = config(roots, &[&TLS13, &TLS12], &self.keys)?;
        Ok(format!("{count} {}", if count == 1 { "authority" } else { "authorities" }))
    }

    /// A session for a new connection to an upstream with this `host`: a DNS name, or an IP address, an IPv6 address in
    /// brackets or not. Its certificate must be for that (RFC 9110 §4.3.4). A name is also sent to it (RFC 6066 §3).
    ///
    /// # Errors
    /// The host is neither.
    pub fn session(&self, host: &str) -> Result<Session, Fault> {
        Session::to_server(Arc::clone(&lock(&self.current)), server_name(host)?)
    }
}

/// What the certificate of this host must be for.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, Fault> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    // RFC 6066 §3: without the final dot of a name that is fully qualified. Certificates have none either.
    let bare = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    ServerName::try_from(bare).map_err(|_| Fault::no_server_name(host))
}

/// With what handshakes begin that trust these authorities.
fn config(
    roots: RootCertStore,
    versions: &[&'static SupportedProtocolVersion],
    keys: &SessionKeys,
) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(versions).map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    // Upstreams get HTTP/1.1. One that does not know of ALPN (RFC 7301) is expected to speak it as well.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    config.key_log = keys.key_log();
    Ok(Arc::new(config))
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
