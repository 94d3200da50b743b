//! Which requests a route takes.

use std::fmt;

use crate::base::glob::Glob;
use crate::http::fields::{FieldName, is_tchar};
use crate::http::message::RequestHead;
use crate::http::method::Method;
use crate::service::proxy::path::NormalPath;

/// What a request must be like: all of it must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matcher {
    /// Its path.
    pub path: PathMatch,
    /// Its method: one of these, or any if there are none. HEAD is taken where GET is (RFC 9110 §9.3.2).
    pub methods: Vec<Method>,
    /// Fields that it has: all of these.
    pub fields: Vec<FieldMatch>,
}

/// What a normalised path must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PathMatch {
    /// Any.
    #[default]
    Any,
    /// This, without a slash at its end, or beneath it.
    Beneath(Box<[u8]>),
    /// This one.
    Exactly(Box<[u8]>),
    /// What a pattern stands for.
    Pattern(Glob),
}

/// What a field must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldMatch {
    name: FieldName,
    /// One of its values is this; `None`: whatever it is.
    value: Option<Box<[u8]>>,
}

/// Why a route does not take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit<'m> {
    /// The path is another.
    Path,
    /// The method is another.
    Method,
    /// This field is not there, or has another value.
    Field(&'m FieldMatch),
}

impl PathMatch {
    /// What `text` means: `/api/` for itself and all beneath it, `=/api` for itself alone, and with a `*` or `?` in it a
    /// pattern such as `*.php` or `/docs/**`.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn new(text: &str) -> Result<PathMatch, String> {
        if let Some(path) = text.strip_prefix('=') {
            return Ok(PathMatch::Exactly(normal(path)?.into()));
        }
        if text.contains(['*', '?']) {
            return Glob::new(text).map(PathMatch::Pattern).map_err(|error| error.to_string());
        }
        let path = normal(text)?;
        let beneath = path.strip_suffix(b"/").unwrap_or(&path);
        match beneath {
            b"" => Ok(PathMatch::Any),
            _ if beneath.ends_with(b"/") => Err("expected one slash at its end, such as /api/".into()),
            _ => Ok(PathMatch::Beneath(beneath.into())),
        }
    }

    /// The path that all others of it begin with, without a slash at its end; empty if there is none but the root.
    pub fn prefix(&self) -> &[u8] {
        if let PathMatch::Beneath(prefix) = self { prefix } else { b"" }
    }

    /// Whether it is this normalised `path`. `OPTIONS *` is a matter of routes for any path.
    pub fn takes(&self, path: &[u8]) -> bool {
        match self {
            PathMatch::Any => true,
            PathMatch::Beneath(prefix) => {
                path.strip_prefix(&**prefix).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
            }
            PathMatch::Exactly(exact) => path == &**exact,
            PathMatch::Pattern(glob) => path.starts_with(b"/") && glob.matches(path),
        }
    }

    /// The first segment of all paths that it takes; `None`: they have different ones.
    pub fn first_segment(&self) -> Option<&[u8]> {
        match self {
            PathMatch::Any | PathMatch::Pattern(_) => None,
            PathMatch::Beneath(path) | PathMatch::Exactly(path) => Some(first_segment(path)),
        }
    }
}

/// What stands between the first slash of a path and the second.
pub fn first_segment(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    &path[..path.iter().position(|byte| *byte == b'/').unwrap_or(path.len())]
}

/// The path as those of requests are compared with it.
fn normal(path: &str) -> Result<Vec<u8>, String> {
    let normal = NormalPath::new(path.as_bytes());
    if let Some(defect) = normal.defect() {
        return Err(defect.into());
    }
    let is_path =
        path.starts_with('/') && !path.contains('#') && !path.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
    match is_path {
        true => Ok(normal.as_bytes().to_vec()),
        false => Err("expected a path such as /api/, =/exactly/this, or a pattern such as *.php".into()),
    }
}

impl FieldMatch {
    /// What `text` means: `NAME`, or `NAME: VALUE`.
    ///
    /// # Errors
    /// What would be right.
    pub fn new(text: &str) -> Result<FieldMatch, String> {
        let (name, value) = text.split_once(':').map_or((text, None), |(name, value)| (name, Some(value.trim())));
        let is_name = !name.is_empty() && name.bytes().all(is_tchar);
        match FieldName::new(name).ok().filter(|_| is_name) {
            Some(name) => Ok(FieldMatch { name, value: value.map(|value| value.as_bytes().into()) }),
            None => Err("expected a field such as 'X-Canary', or one with its value such as 'X-Canary: yes'".into()),
        }
    }

    fn takes(&self, request: &RequestHead<'_>) -> bool {
        let mut values = request.fields.all(self.name.as_str());
        match &self.value {
            None => values.next().is_some(),
            Some(value) => values.any(|other| other == &**value),
        }
    }
}

impl fmt::Display for FieldMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_str())?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, ": {}", value.escape_ascii()))
    }
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathMatch::Any => f.write_str("/"),
            PathMatch::Beneath(path) => write!(f, "{}/", path.escape_ascii()),
            PathMatch::Exactly(path) => write!(f, "={}", path.escape_ascii()),
            PathMatch::Pattern(glob) => f.write_str(glob.as_str()),
        }
    }
}

impl Matcher {
    /// Whether it takes all requests that the `other` takes, as far as that shows without an example.
    pub fn covers(&self, other: &Matcher) -> bool {
        let covers_path = match (&self.path, &other.path) {
            (PathMatch::Any, _) => true,
            (PathMatch::Beneath(_), PathMatch::Beneath(path) | PathMatch::Exactly(path)) => self.path.takes(path),
            (path, other) => path == other,
        };
        // HEAD is taken where GET is.
        let has = |method: &Method| {
            self.methods.contains(method) || (*method == Method::Head && self.methods.contains(&Method::Get))
        };
        let covers_methods = self.methods.is_empty() || (!other.methods.is_empty() && other.methods.iter().all(has));
        covers_path && covers_methods && self.fields.iter().all(|field| other.fields.contains(field))
    }

    /// Whether it looks at nothing but the path.
    pub fn is_by_path(&self) -> bool {
        self.methods.is_empty() && self.fields.is_empty()
    }

    /// Why it does not take a request whose normalised path this is; `None`: it does.
    pub fn unfit(&self, request: &RequestHead<'_>, path: &[u8]) -> Option<Unfit<'_>> {
        if !self.path.takes(path) {
            return Some(Unfit::Path);
        }
        let asked = match request.method {
            // What HTTP/1 asks for with GET and `Upgrade`, HTTP/2 asks for with CONNECT (RFC 8441 §4).
            Method::Connect if request.protocol.is_some() => Method::Get,
            method => method,
        };
        let is_taken = |method: &Method| *method == asked || (*method == Method::Get && asked == Method::Head);
        if !self.methods.is_empty() && !self.methods.iter().any(is_taken) {
            return Some(Unfit::Method);
        }
        self.fields.iter().find(|field| !field.takes(request)).map(Unfit::Field)
    }
}
