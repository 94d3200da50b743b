//! Request methods (RFC 9110 §9).

use std::fmt;

use super::fields::is_tchar;

/// Longest method in bytes; the longest registered one has 17 (UPDATEREDIRECTREF).
pub const METHOD_BYTES_MAX: usize = 32;

/// The methods of IANA's HTTP Method Registry that have no name in [`Method`], sorted. The registry also reserves `*`, so
/// that nobody takes it for a method (RFC 9110 §18.2); it is not in the list.
const REGISTERED: [&str; 31] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PRI",
    "PROPFIND",
    "PROPPATCH",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// A request method. Any token is one (RFC 9110 §9.1); those that this server gives a meaning to have a name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the registered methods themselves")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Connect,
    Trace,
    /// Any other, registered or not.
    Extension(MethodToken),
}

/// The token of a method that has no name in [`Method`]. It holds its bytes itself, so that a method can be copied
/// without an allocation. Only [`Method::from_token`] makes one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MethodToken {
    len: u8,
    /// The token, and zeros behind it.
    bytes: [u8; METHOD_BYTES_MAX],
}

impl Method {
    /// The method named by `token`. Methods are case-sensitive (RFC 9110 §9.1). `None` if it is not a token, or longer
    /// than [`METHOD_BYTES_MAX`].
    pub fn from_token(token: &[u8]) -> Option<Method> {
        match token {
            b"GET" => Some(Method::Get),
            b"HEAD" => Some(Method::Head),
            b"POST" => Some(Method::Post),
            b"PUT" => Some(Method::Put),
            b"PATCH" => Some(Method::Patch),
            b"DELETE" => Some(Method::Delete),
            b"OPTIONS" => Some(Method::Options),
            b"CONNECT" => Some(Method::Connect),
            b"TRACE" => Some(Method::Trace),
            _ => MethodToken::new(token).map(Method::Extension),
        }
    }

    /// The method as it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Connect => "CONNECT",
            Method::Trace => "TRACE",
            Method::Extension(token) => token.as_str(),
        }
    }

    /// Whether several requests with it are meant to have the effect of one (RFC 9110 §9.2.2). Of other methods than those of
    /// RFC 9110 it is not known what a server makes of them, so they are taken for not idempotent.
    pub fn is_idempotent(&self) -> bool {
        match self {
            Method::Get | Method::Head | Method::Options | Method::Trace | Method::Put | Method::Delete => true,
            Method::Post | Method::Patch | Method::Connect | Method::Extension(_) => false,
        }
    }

    /// Whether this is a method by IANA's HTTP Method Registry. Where a resource does not have it, a registered method is
    /// answered with 405, and any other with 501: the server does not recognise it (RFC 9110 §9.1, §15.6.2).
    #[inline]
    pub fn is_registered(&self) -> bool {
        match self {
            Method::Extension(token) => token.is_registered(),
            _ => true,
        }
    }
}

impl MethodToken {
    #[cold]
    fn new(token: &[u8]) -> Option<MethodToken> {
        if token.is_empty() || !token.iter().copied().all(is_tchar) {
            return None;
        }
        let mut bytes = [0; METHOD_BYTES_MAX];
        bytes.get_mut(..token.len())?.copy_from_slice(token);
        Some(MethodToken { len: token.len() as u8, bytes })
    }

    #[cold]
    fn is_registered(&self) -> bool {
        REGISTERED.binary_search(&self.as_str()).is_ok()
    }

    /// The token.
    pub fn as_str(&self) -> &str {
        // A token is ASCII.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MethodToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_a_method_and_keeps_its_spelling() {
        let longest = "M".repeat(METHOD_BYTES_MAX);
        for token in ["GET", "HEAD", "CONNECT", "get", "BREW", "M-SEARCH", "!#$%&'*+-.^_`|~", &longest] {
            let method = Method::from_token(token.as_bytes()).expect("a token");
            assert_eq!((method.as_str(), method.to_string()), (token, token.to_owned()));
        }
        assert_eq!(Method::from_token(b"GET"), Some(Method::Get));
        assert!(matches!(Method::from_token(b"Get"), Some(Method::Extension(_))));
        assert_ne!(Method::from_token(b"BREW"), Method::from_token(b"BREW2"));
    }

    #[test]
    fn a_method_is_registered_or_not_by_its_exact_spelling() {
        assert!(REGISTERED.is_sorted());
        for token in REGISTERED.iter().chain(&["GET", "TRACE", "CONNECT"]) {
            assert!(Method::from_token(token.as_bytes()).unwrap().is_registered(), "{token}");
        }
        for token in ["BREW", "PURGE", "get", "Propfind", "PROPFINDS", "PROP", "*", "M-SEARCH"] {
            assert!(!Method::from_token(token.as_bytes()).unwrap().is_registered(), "{token}");
        }
    }

    #[test]
    fn what_is_no_token_or_too_long_is_no_method() {
        let too_long = "M".repeat(METHOD_BYTES_MAX + 1);
        for bytes in ["", "A B", "A\0", "\u{fc}", "A,", &too_long] {
            assert_eq!(Method::from_token(bytes.as_bytes()), None, "{bytes:?}");
        }
    }
}
