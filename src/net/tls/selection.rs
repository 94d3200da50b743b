//! Which certificate a client gets.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, PeerIncompatible, SignatureScheme};

use super::pair::Pair;

/// The pairs by the names that they are for. Exact names come before wildcards. If several pairs have a name, the first
/// whose key can sign as the client wants it is chosen, so that an ECDSA and an RSA certificate can stand side by side.
#[derive(Debug)]
pub(super) struct Selection {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// `example.org` for `*.example.org`.
    wildcards: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// The first pair, and those that share a name with it.
    defaults: Vec<Arc<CertifiedKey>>,
    strict: bool,
}

impl Selection {
    /// With `strict`, a client that names no server, or one that no certificate has, is refused. Otherwise it gets the first
    /// pair.
    pub(super) fn new(pairs: &[Pair], strict: bool) -> Selection {
        let mut selection =
            Selection { exact: HashMap::new(), wildcards: HashMap::new(), defaults: Vec::new(), strict };
        for (index, pair) in pairs.iter().enumerate() {
            for name in &pair.facts.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut selection.wildcards, parent),
                    None => (&mut selection.exact, name.as_str()),
                };
                names.entry(name.to_string()).or_default().push(Arc::clone(&pair.certified));
            }
            let is_shared = |name: &String| pairs[0].facts.names.contains(name);
            if index == 0 || pair.facts.names.iter().any(is_shared) {
                selection.defaults.push(Arc::clone(&pair.certified));
            }
        }
        selection
    }

    /// The pair for a client that sends this `name` (RFC 6066 §3) and accepts signatures of these `schemes`. `None` refuses
    /// the client.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(name)?;
        let fitting = candidates.iter().find(|pair| pair.key.choose_scheme(schemes).is_some());
        // If none fits, rustls finds that out with the first, and says so in the alert.
        fitting.or(candidates.first()).map(|pair| Arc::clone(pair))
    }

    /// The pairs among which a client chooses that sends this `name`. `None` refuses the client.
    pub(super) fn candidates(&self, name: Option<&str>) -> Option<Vec<&Arc<CertifiedKey>>> {
        let name = name.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let of_name = name.iter().flat_map(|name| self.having(name));
        let known: Vec<&Arc<CertifiedKey>> = of_name.collect();
        match (known.is_empty(), self.strict) {
            (false, _) => Some(known),
            (true, false) => Some(self.defaults.iter().collect()),
            (true, true) => None,
        }
    }

    /// Whether a pair has this `name`.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.having(&name.trim_end_matches('.').to_ascii_lowercase()).next().is_some()
    }

    /// All pairs that have a `name` in lower case. A wildcard stands for exactly one label, the leftmost (RFC 9525 §6.3).
    fn having(&self, name: &str) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        let parent = name.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, parent)| parent);
        let by_wildcard = parent.and_then(|parent| self.wildcards.get(parent));
        self.exact.get(name).into_iter().chain(by_wildcard).flatten()
    }
}

thread_local! {
    /// The server name of the last ClientHello on this thread.
    static NAME: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// The server name of the ClientHello that this thread has just answered, if it has one. The unbuffered interface of rustls
/// does not tell it.
pub(super) fn take_name() -> Option<Box<str>> {
    NAME.take()
}

impl ResolvesServerCert for Selection {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        NAME.set(hello.server_name().map(Box::from));
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

/// Whether a handshake ended with this error because the name that the client has sent was refused.
pub(super) fn is_unknown_name(error: &Error) -> bool {
    matches!(error, Error::General(text) if text == "no server certificate chain resolved")
}

/// The record of the alert that goes to a client in the place of the one that rustls has queued, if the handshake ended with
/// this `error`.
///
/// rustls answers a client that [`Selection`] refuses with `access_denied`. The alert for a name that is not known is
/// `unrecognized_name` (RFC 6066 §3). A client of TLS 1.1 or older is refused because it names no signature algorithms,
/// which came with TLS 1.2, and gets `handshake_failure`. The alert for it is `protocol_version` (RFC 8446 §4.2.1). Nothing is
/// encrypted at that point, so the records (RFC 8446 §5.1, §6) are constants.
pub(super) fn refusal_alert(error: &Error) -> Option<[u8; 7]> {
    const PROTOCOL_VERSION: u8 = 70;
    const UNRECOGNIZED_NAME: u8 = 112;
    let alert = match error {
        error if is_unknown_name(error) => UNRECOGNIZED_NAME,
        Error::PeerIncompatible(PeerIncompatible::SignatureAlgorithmsExtensionRequired) => PROTOCOL_VERSION,
        _ => return None,
    };
    Some([21, 3, 3, 0, 2, 2, alert])
}

#[cfg(test)]
mod tests;
