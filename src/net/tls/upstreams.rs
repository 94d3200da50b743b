//! TLS to upstreams: there we are the client.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::authorities;
use super::files::Files;
use super::provider::provider;
use super::{Fault, Session};

/// Sessions that are kept to be resumed. Each server name has up to eight of them, the newest.
const SESSIONS_MAX: usize = 256;

/// With what TLS to upstreams is made. All event loops share it.
pub struct UpstreamTls {
    config: Arc<ClientConfig>,
}

impl UpstreamTls {
    /// Reads who may have issued the certificates of upstreams: the `authorities` in this PEM file, or those that the system
    /// trusts. This waits for the disk.
    ///
    /// # Errors
    /// What is wrong with the file, without its name; or that the system trusts nobody.
    pub fn load(authorities: Option<&Path>) -> Result<UpstreamTls, String> {
        let roots = match authorities {
            Some(file) => Files::read(&[file]).0.content(file).and_then(authorities::in_pem)?,
            None => authorities::of_system()?,
        };
        UpstreamTls::new(roots, &[&TLS13, &TLS12])
    }

    fn new(roots: RootCertStore, versions: &[&'static SupportedProtocolVersion]) -> Result<UpstreamTls, String> {
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(versions).map_err(|error| error.to_string())?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        // Upstreams get HTTP/1.1. One that does not know of ALPN (RFC 7301) is expected to speak it as well.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Ok(UpstreamTls { config: Arc::new(config) })
    }

    /// A session for a new connection to an upstream with this `host`: a DNS name, or an IP address, an IPv6 address in
    /// brackets or not. Its certificate must be for that (RFC 9110 §4.3.4). A name is also sent to it (RFC 6066 §3).
    ///
    /// # Errors
    /// The host is neither.
    pub fn session(&self, host: &str) -> Result<Session, Fault> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        // RFC 6066 §3: without the final dot of a name that is fully qualified. Certificates have none either.
        let bare = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
        let name = ServerName::try_from(bare).map_err(|_| Fault::no_server_name(host))?;
        Session::to_server(Arc::clone(&self.config), name)
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
