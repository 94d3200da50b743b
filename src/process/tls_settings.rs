//! What can be set about HTTPS.

use std::path::PathBuf;

use clap::Args;

use super::settings::switch;
use super::usage::Objection;
use crate::net::listener::ListenAddress;
use crate::net::tls::{self, FileKind, LiveConfig, Mistake, PairFiles, TlsOptions};

/// The server's certificates, and what is asked of clients.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "HTTPS")]
pub struct TlsSettings {
    /// Certificate of an https: listener, with its chain, in PEM; repeatable: clients get the one with the name that they
    /// ask for, or the first
    #[arg(long, value_name = "FILE", env = "TIDEMILL_TLS_CERT", hide_env = true, value_delimiter = ',')]
    tls_cert: Vec<PathBuf>,

    /// Key of the certificate, in PEM; repeatable, in the order of the certificates
    #[arg(long, value_name = "FILE", env = "TIDEMILL_TLS_KEY", hide_env = true, value_delimiter = ',')]
    tls_key: Vec<PathBuf>,

    /// Refuse clients that ask for no name, or for one that no certificate has
    #[arg(long, env = "TIDEMILL_TLS_STRICT_SNI", hide_env = true, value_parser = switch)]
    tls_strict_sni: bool,
}

impl TlsSettings {
    /// What no single value shows. `https` is a listener that needs a certificate, if there is one.
    pub(super) fn check(&self, https: Option<&ListenAddress>) -> Result<(), Objection> {
        if let Some(listen) = https {
            self.check_is_there().map_err(|problem| Objection::new("listen", listen, problem))?;
        }
        if self.tls_cert.len() != self.tls_key.len() {
            let (certificates, keys) = (self.tls_cert.len(), self.tls_key.len());
            let id = if certificates > keys { "tls_cert" } else { "tls_key" };
            let problem = format!("needs its pair: there are {certificates} of --tls-cert and {keys} of --tls-key");
            return Err(Objection::to_argument(id, problem));
        }
        if tls::IS_BUILT_IN && !self.tls_cert.is_empty() {
            LiveConfig::load(self.options(), &mut |_| {}).map_err(|mistake| objection(&mistake))?;
        }
        Ok(())
    }

    /// Whether TLS can be spoken; otherwise what is missing.
    pub(super) fn check_is_there(&self) -> Result<(), &'static str> {
        match (tls::IS_BUILT_IN, self.tls_cert.is_empty()) {
            (false, _) => Err("cannot be served: this build has no TLS"),
            (true, true) => Err("needs a certificate: --tls-cert FILE --tls-key FILE"),
            (true, false) => Ok(()),
        }
    }

    /// The flags that say something, without their dashes.
    pub(super) fn flags_given(&self) -> Vec<&'static str> {
        let given = [("tls-cert", !self.tls_cert.is_empty()), ("tls-strict-sni", self.tls_strict_sni)];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(flag, _)| flag).collect()
    }

    /// What TLS is made of.
    pub fn options(&self) -> TlsOptions {
        let pairs = self.tls_cert.iter().zip(&self.tls_key);
        let pair =
            |(certificate, key): (&PathBuf, &PathBuf)| PairFiles { certificate: certificate.clone(), key: key.clone() };
        TlsOptions { pairs: pairs.map(pair).collect(), strict_sni: self.tls_strict_sni }
    }
}

fn objection(mistake: &Mistake) -> Objection {
    let id = match mistake.kind {
        FileKind::Certificate => "tls_cert",
        FileKind::Key => "tls_key",
    };
    Objection::new(id, mistake.file.display(), mistake.problem.clone())
}
