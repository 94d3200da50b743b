//! Bearer tokens (RFC 6750), of which only hashes are held.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::lines::{FileError, LineError, lines, read};
use super::secret::Secret;

/// A token that is shorter can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

const ADVICE: &str = "make one with `openssl rand -hex 32`";

/// The tokens of a file.
///
/// What is looked for is the hash, with a key that nobody knows, of a token's SHA-256: whoever measures how long a look takes
/// learns nothing about the tokens that are there.
#[derive(Debug)]
pub struct Tokens {
    secret: Secret,
    /// The name of each, if it has one.
    names: HashMap<[u8; 32], Option<Arc<str>>>,
}

impl Tokens {
    /// Reads a file. Blocks.
    ///
    /// # Errors
    /// It cannot be read, or a line is wrong.
    pub fn read(path: &Path) -> Result<Tokens, FileError> {
        read(path, Tokens::parse)
    }

    /// The tokens of a file with these bytes: `TOKEN` or `sha256:HEX` a line, and a name behind it if wanted.
    ///
    /// # Errors
    /// A line is wrong, or there is none.
    pub fn parse(bytes: &[u8]) -> Result<Tokens, LineError> {
        let mut tokens = Tokens { secret: Secret::new(), names: HashMap::new() };
        for line in lines(bytes) {
            let (number, line) = line?;
            tokens.add(line).map_err(|what| LineError { line: number, what })?;
        }
        if tokens.names.is_empty() {
            return Err(LineError { line: 0, what: format!("there is no token in it; {ADVICE}") });
        }
        Ok(tokens)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let (token, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let name = Some(name.trim()).filter(|name| !name.is_empty()).map(Arc::from);
        let digest = match token.strip_prefix("sha256:") {
            Some(hex) => from_hex(hex).ok_or("expected 64 hexadecimal digits behind sha256:")?,
            None if !is_token(token.as_bytes()) => {
                return Err(format!("a token has letters, digits and -._~+/ alone, and = at its end; {ADVICE}"));
            }
            None if token.len() < TOKEN_BYTES_MIN => {
                return Err(format!("a token shorter than {TOKEN_BYTES_MIN} characters can be guessed; {ADVICE}"));
            }
            None => Sha256::digest(token).into(),
        };
        match self.names.insert(self.secret.hash(&[&digest]), name) {
            Some(_) => Err("this token is there twice".into()),
            None => Ok(()),
        }
    }

    /// Whether this is one of them, and the name that it has, if so.
    pub fn find(&self, token: &[u8]) -> Option<Option<&Arc<str>>> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        self.names.get(&self.secret.hash(&[&digest])).map(Option::as_ref)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }
}

/// b64token (RFC 6750 §2.1)
pub fn is_token(text: &[u8]) -> bool {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    end > 0 && text[..end].iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest was made by sha256sum.
    const FILE: &str = "\
# machines
mF_9.B5f-4.1JqM+/0123==  the build
SHA256-looks-like-one-but-is-a-token
sha256:341adfc8c7a16da26567504d891009d2f9274373E27D5CF0098f6fc6010d0ee6\tnightly backup\r
";

    #[test]
    fn a_token_is_known_by_itself_or_by_its_hash() {
        let tokens = Tokens::parse(FILE.as_bytes()).unwrap();
        let find = |token: &str| tokens.find(token.as_bytes()).map(|name| name.map(AsRef::as_ref));
        assert_eq!(tokens.count(), 3);
        assert_eq!(find("mF_9.B5f-4.1JqM+/0123=="), Some(Some("the build")));
        assert_eq!(find("SHA256-looks-like-one-but-is-a-token"), Some(None));
        assert_eq!(find("mF_9.B5f-4.1JqM0123"), Some(Some("nightly backup")));
        for wrong in [
            "",
            "mF_9.B5f-4.1JqM+/0123=",
            "mf_9.B5f-4.1JqM+/0123==",
            "sha256:341adfc8c7a16da26567504d891009d2f9274373e27d5cf0098f6fc6010d0ee6",
            "341adfc8c7a16da26567504d891009d2f9274373e27d5cf0098f6fc6010d0ee6",
        ] {
            assert_eq!(find(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_token_is_held_as_it_is() {
        let tokens = Tokens::parse(FILE.as_bytes()).unwrap();
        assert!(!format!("{tokens:?}").contains("mF_9"));
    }

    #[test]
    fn a_line_that_is_no_token_is_refused_and_not_repeated() {
        for (line, what) in [
            ("short=", "a token shorter than 16"),
            ("café-café-café-café", "a token has letters"),
            ("aaaa=aaaaaaaaaaaaaaaa", "a token has letters"),
            ("====================", "a token has letters"),
            ("user:aaaaaaaaaaaaaaaa", "a token has letters"),
            ("sha256:341adf", "expected 64 hexadecimal digits"),
            ("sha256:341adfc8c7a16da26567504d891009d2f9274373e27d5cf0098f6fc6010d0eeg", "expected 64"),
            ("sha256:éé1adfc8c7a16da26567504d891009d2f9274373e27d5cf0098f6fc6010d0e", "expected 64"),
            ("mF_9.B5f-4.1JqM0123", "this token is there twice"),
        ] {
            let error = Tokens::parse(format!("{FILE}\n{line}").as_bytes()).unwrap_err();
            assert!(error.line == 6 && error.what.starts_with(what), "{line}: {error:?}");
            assert!(!error.what.contains(line), "{}", error.what);
        }
        assert_eq!(Tokens::parse(b"\n#\n").unwrap_err().line, 0);
    }
}
