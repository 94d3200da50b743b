//! What a build without TLS has in the place of it.

use super::{CertificateFacts, FileKind, Mistake, Occasion, TlsOptions};

/// There is none in this build.
#[derive(Debug)]
pub enum LiveConfig {}

impl LiveConfig {
    /// # Errors
    /// Always: this build has no TLS.
    pub fn load(options: TlsOptions, _warn: &mut dyn FnMut(String)) -> Result<LiveConfig, Mistake> {
        let file = options.pairs.into_iter().next().map(|pair| pair.certificate).unwrap_or_default();
        Err(Mistake { kind: FileKind::Certificate, file, problem: "this build has no TLS".into() })
    }

    /// Looks at the files.
    pub fn refresh(&self, _occasion: Occasion) -> Vec<(log::Level, String)> {
        match *self {}
    }

    /// The certificates in use.
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        match *self {}
    }
}
