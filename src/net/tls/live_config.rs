//! With what the next handshake is made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};

use super::pair::{Pair, PairReader, mistake};
use super::provider::provider;
use super::selection::Selection;
use super::{CertificateFacts, FileKind, Mistake, TlsOptions};

/// The protocols that are offered by ALPN (RFC 7301), the preferred first.
const PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];

/// The configuration for new handshakes, made of files. All listeners share it. Sessions keep the configuration that they
/// began with.
#[derive(Debug)]
pub struct LiveConfig {
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    certificates: Vec<CertificateFacts>,
}

impl LiveConfig {
    /// Reads all files. `warn` takes what the user should know although they can be used, a line each.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(options: TlsOptions, warn: &mut dyn FnMut(String)) -> Result<LiveConfig, Mistake> {
        let provider = provider();
        let mut reader = PairReader { provider: &provider, now: SystemTime::now(), warn };
        let pairs: Vec<Pair> = options.pairs.iter().map(|files| reader.read(files)).collect::<Result<_, _>>()?;
        let config = config(&options, &provider, &pairs)?;
        let certificates = pairs.into_iter().map(|pair| pair.facts).collect();
        Ok(LiveConfig { current: Mutex::new(Current { config: Arc::new(config), certificates }) })
    }

    /// The configuration for a handshake that begins now.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.lock().config)
    }

    /// The certificates in use, in the order of the options.
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        self.lock().certificates.clone()
    }

    /// Nobody panics while holding the lock; if somebody did, what it guards would still be whole.
    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn config(options: &TlsOptions, provider: &Arc<CryptoProvider>, pairs: &[Pair]) -> Result<ServerConfig, Mistake> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).map_err(|error| {
        let file = options.pairs.first().map(|pair| pair.certificate.clone()).unwrap_or_default();
        mistake(FileKind::Certificate, &file, error.to_string())
    })?;
    let selection = Selection::new(pairs, options.strict_sni);
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(selection));
    config.alpn_protocols = PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

#[cfg(test)]
mod tests;
