//! What a build without TLS has in the place of it.

use std::path::Path;
use std::time::SystemTime;

use super::{CertificateFacts, FileKind, Mistake, Occasion, SelfSigned, TlsOptions};

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

impl SelfSigned {
    /// # Errors
    /// Always: this build has no TLS.
    pub fn ensure(_directory: &Path, _names: &[String], _now: SystemTime) -> Result<SelfSigned, String> {
        Err("this build has no TLS".into())
    }
}
