//! Hashes that only this process can make.

use std::hash::{BuildHasher, RandomState};

use sha2::{Digest, Sha256};

/// A key that is made at random and never leaves the process. What clients send as passwords and tokens is remembered, looked
/// for and compared as its hash with this key. Nobody outside can predict one bit of it, so that the time of a comparison, or
/// the place in a table, tells nothing about what it is compared with.
pub struct Secret([u8; 32]);

impl Secret {
    /// A new one, from the randomness of the system that also protects hash maps from chosen keys: 128 bits of it.
    pub fn new() -> Secret {
        let random = RandomState::new();
        let mut key = [0; 32];
        for (index, part) in key.chunks_exact_mut(8).enumerate() {
            part.copy_from_slice(&random.hash_one(index).to_le_bytes());
        }
        Secret(key)
    }

    /// The hash of these texts, one behind the other. Where one ends counts, too.
    pub fn hash(&self, texts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = Sha256::new_with_prefix(self.0);
        for text in texts {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
        hasher.finalize().into()
    }
}

impl Default for Secret {
    fn default() -> Secret {
        Secret::new()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_equal_hashes_with_one_key_alone() {
        let secret = Secret::new();
        assert_eq!(secret.hash(&[b"a", b"b"]), secret.hash(&[b"a", b"b"]));
        assert_ne!(secret.hash(&[b"a", b"b"]), Secret::new().hash(&[b"a", b"b"]));
        let others: [&[&[u8]]; 4] = [&[b"ab", b""], &[b"", b"ab"], &[b"ab"], &[b"b", b"a"]];
        assert!(others.iter().all(|texts| secret.hash(texts) != secret.hash(&[b"a", b"b"])));
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
