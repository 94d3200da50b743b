//! Where the cryptography comes from. It is always named, and never the process-wide default of rustls, which any library
//! could set.

use std::sync::Arc;

#[cfg(feature = "tls")]
use rustls::crypto::aws_lc_rs as backend;
#[cfg(not(feature = "tls"))]
use rustls::crypto::ring as backend;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::ProducesTickets;
use rustls::{Error, SupportedCipherSuite};

use super::key_log::Hex;

/// The groups of the key exchange, the preferred first. X25519MLKEM768 withstands quantum computers: what is
/// recorded today could be decrypted by them later.
const GROUPS: &[&dyn SupportedKxGroup] = &[
    #[cfg(feature = "tls")]
    backend::kx_group::X25519MLKEM768,
    backend::kx_group::X25519,
    backend::kx_group::SECP256R1,
    backend::kx_group::SECP384R1,
];

/// The provider of everything in this folder. AES with keys of 128 bits comes first: it is the fastest here, and safe.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = CryptoProvider { kx_groups: GROUPS.to_vec(), ..backend::default_provider() };
    // The sort is stable: the library's order, TLS 1.3 first, is kept.
    let is_short = |suite: &SupportedCipherSuite| format!("{:?}", suite.suite()).contains("AES_128");
    provider.cipher_suites.sort_by_key(|suite| (suite.tls13().is_none(), !is_short(suite)));
    Arc::new(provider)
}

/// What makes the tickets with which clients resume sessions: one key for some hours, and the one before it.
pub(super) fn ticketer() -> Result<Arc<dyn ProducesTickets>, Error> {
    backend::Ticketer::new()
}

/// SHA-256 of `bytes`, in hexadecimal digits.
pub(super) fn fingerprint(bytes: &[u8]) -> String {
    Hex(&sha256(bytes)).to_string()
}

/// SHA-256 of `bytes`.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let suite = backend::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    let hash = suite.map(|suite| suite.common.hash_provider.hash(bytes));
    hash.and_then(|hash| hash.as_ref().try_into().ok()).expect("the suite hashes with SHA-256")
}
