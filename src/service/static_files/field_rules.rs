//! Which fields the site adds to which files and answers.

use std::fmt;

use crate::base::glob::{Glob, InvalidGlob};
use crate::http::fields::{CACHE_CONTROL, FieldName, FieldSet, FieldValue, is_tchar};
use crate::http::message::Response;

/// Fields that a response gets from elsewhere, so that a rule for them would send two.
const NOT_CONFIGURABLE: [&str; 17] = [
    "accept-ranges",
    "allow",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "keep-alive",
    "last-modified",
    "location",
    "retry-after",
    "server",
    "trailer",
    "transfer-encoding",
    "vary",
];

/// Fields about keeping a file for later. Said of an error they would keep the error.
const ABOUT_CACHING: [&str; 5] = ["cache-control", "cdn-cache-control", "expires", "pragma", "surrogate-control"];

/// Extensions of what bundlers give names with hashes.
const BUNDLED: [&str; 19] = [
    "avif", "css", "eot", "gif", "ico", "jpeg", "jpg", "js", "json", "map", "mjs", "otf", "png", "svg", "ttf", "wasm",
    "webp", "woff", "woff2",
];
/// The shortest part of a name that is taken for a hash, in bytes: that of Vite.
const HASH_BYTES_MIN: usize = 8;

const HASHED: &str = "@hashed";

/// Rules in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldRules(Vec<FieldRule>);

/// One field, and what it is added to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRule {
    scope: Scope,
    name: FieldName,
    value: FieldValue,
}

/// What a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    Everything,
    Paths(Vec<Glob>),
    /// Files whose names have a hash of their content.
    Hashed,
}

/// Why a text is not a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidRule {
    /// It is no field.
    NotAField,
    /// The server sets this field.
    Fixed(String),
    /// The pattern is none, for this reason.
    Pattern(InvalidGlob),
}

impl fmt::Display for InvalidRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidRule::NotAField => {
                write!(
                    f,
                    "expected a field such as 'X-Frame-Options: DENY', perhaps with a pattern such as '*.css' before it"
                )
            }
            InvalidRule::Fixed(name) => write!(f, "expected another field: {name} is set by the server itself"),
            InvalidRule::Pattern(reason) => reason.fmt(f),
        }
    }
}

impl From<InvalidGlob> for InvalidRule {
    fn from(reason: InvalidGlob) -> InvalidRule {
        InvalidRule::Pattern(reason)
    }
}

impl FieldRule {
    /// The rule that `text` means: `NAME: VALUE`, or the same behind patterns and a space. Patterns are separated by
    /// commas; `@hashed` stands for names with a hash in them.
    pub fn new(text: &str) -> Result<FieldRule, InvalidRule> {
        let (scope, field) = split_scope(text)?;
        let (name, value) = field.split_once(':').ok_or(InvalidRule::NotAField)?;
        if NOT_CONFIGURABLE.iter().any(|fixed| name.eq_ignore_ascii_case(fixed)) {
            return Err(InvalidRule::Fixed(name.to_owned()));
        }
        let name = FieldName::new(name).map_err(|_| InvalidRule::NotAField)?;
        let value = FieldValue::new(value).map_err(|_| InvalidRule::NotAField)?;
        Ok(FieldRule { scope, name, value })
    }

    fn is_about_caching(&self) -> bool {
        ABOUT_CACHING.iter().any(|name| self.name.as_str().eq_ignore_ascii_case(name))
    }

    /// What it adds.
    pub fn field(&self) -> (FieldName, FieldValue) {
        (self.name.clone(), self.value.clone())
    }
}

/// The field, and what it is for.
impl fmt::Display for FieldRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, for ", self.name.as_str(), self.value.as_bytes().escape_ascii())?;
        match &self.scope {
            Scope::Everything => f.write_str("everything"),
            Scope::Hashed => f.write_str("names with a hash in them"),
            Scope::Paths(globs) => {
                let texts: Vec<&str> = globs.iter().map(Glob::as_str).collect();
                f.write_str(&texts.join(","))
            }
        }
    }
}

/// What stands before the field, if anything does, and the field.
fn split_scope(text: &str) -> Result<(Scope, &str), InvalidRule> {
    let Some((before, field)) = text.trim_start().split_once(' ') else { return Ok((Scope::Everything, text)) };
    let is_name = |text: &str| !text.is_empty() && text.bytes().all(is_tchar);
    match before.split_once(':') {
        Some((name, _)) if is_name(name) => Ok((Scope::Everything, text)),
        _ if before == HASHED => Ok((Scope::Hashed, field.trim_start())),
        // A word alone is a name with a space behind it, rather than a file.
        _ if before.contains(['/', '*', '?', ',', '.']) => {
            let globs: Result<Vec<Glob>, InvalidGlob> = before.split(',').map(Glob::new).collect();
            Ok((Scope::Paths(globs?), field.trim_start()))
        }
        _ => Err(InvalidRule::NotAField),
    }
}

impl FieldRules {
    /// Cache-Control for a site whose assets have hashes in their names: these are kept for a year without asking, and
    /// everything else is asked for each time.
    pub fn for_hashed_assets() -> FieldRules {
        let rule = |scope, value| FieldRule { scope, name: CACHE_CONTROL, value: FieldValue::from_static(value) };
        FieldRules(vec![
            rule(Scope::Everything, "no-cache"),
            rule(Scope::Hashed, "public, max-age=31536000, immutable"),
        ])
    }

    /// This Cache-Control for everything.
    pub fn of_cache_control(value: FieldValue) -> FieldRules {
        FieldRules(vec![FieldRule { scope: Scope::Everything, name: CACHE_CONTROL, value }])
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These rules come last, and so before the others where both set a field.
    pub fn extend(&mut self, rules: impl IntoIterator<Item = FieldRule>) {
        self.0.extend(rules);
    }

    /// The rules for the file at `path`, which begins with `/`. `address` is the path for which it is served, if that is
    /// another one: that of its directory, with a slash at its end, or of a page without its extension.
    pub fn of_file(&self, path: &[u8], address: Option<&[u8]>) -> Vec<&FieldRule> {
        let applies =
            |rule: &FieldRule| rule.scope.contains(path) || address.is_some_and(|address| rule.scope.contains(address));
        self.select(applies)
    }

    /// Adds to a response that is no file what the rules say of `path`, which begins with `/`. Nothing about caching is
    /// among it. A file has its fields already, among those that were prepared.
    pub fn add_to(&self, response: &mut Response, path: &[u8]) {
        let rules = self.select(|rule| !rule.is_about_caching() && rule.scope.contains(path));
        replace(response, &rules);
    }

    /// Adds to a response that no folder has made what the rules say of `path`. What is about caching is not said of an error.
    /// Fields of the same name that the response has are replaced, those of an upstream, too.
    pub fn add_to_produced(&self, response: &mut Response, path: &[u8]) {
        let is_error = response.status.is_error();
        let rules = self.select(|rule| !(is_error && rule.is_about_caching()) && rule.scope.contains(path));
        let is_replaced =
            |name: &[u8]| rules.iter().any(|rule| rule.name.as_str().as_bytes().eq_ignore_ascii_case(name));
        if response.prepared.iter().any(|(name, _)| is_replaced(name)) {
            let kept = response.prepared.iter().filter(|(name, _)| !is_replaced(name));
            response.prepared = FieldSet::of_parsed(kept);
        }
        replace(response, &rules);
    }

    /// Those rules that apply. Of the rules for one field the last one counts, with all that have the same
    /// scope. An empty value sends no field.
    fn select(&self, applies: impl Fn(&FieldRule) -> bool) -> Vec<&FieldRule> {
        let last = |rule: &FieldRule| self.0.iter().rfind(|other| rule.name.is(&other.name) && applies(other));
        let counts = |rule: &&FieldRule| {
            applies(rule)
                && last(rule).is_some_and(|last| last.scope == rule.scope)
                && !rule.value.as_bytes().is_empty()
        };
        self.0.iter().filter(counts).collect()
    }
}

/// Puts the fields of these rules in the place of those with the same names.
fn replace(response: &mut Response, rules: &[&FieldRule]) {
    response.fields.retain(|(name, _)| !rules.iter().any(|rule| rule.name.is(name)));
    response.fields.extend(rules.iter().map(|rule| rule.field()));
}

impl Scope {
    fn contains(&self, path: &[u8]) -> bool {
        match self {
            Scope::Everything => true,
            Scope::Paths(globs) => globs.iter().any(|glob| glob.matches(path)),
            Scope::Hashed => has_hash(path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)),
        }
    }
}

/// Whether the name of a file has a hash of its content, as bundlers write it: behind a first part, as in
/// `index-BsZHvUq1.js` and `main.2a8b3c4d.chunk.css`, or alone if it is long, as in `6d1d9c8e0f2b4a7c.png`.
///
/// Names that people give must not look like it, because what is said to be immutable is never asked for again. So only
/// what bundlers make counts, and a word or a date is no hash.
fn has_hash(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    let mut parts = stem.split(['.', '-']);
    let first = parts.next().unwrap_or(stem);
    let is_bundled = BUNDLED.iter().any(|known| extension.eq_ignore_ascii_case(known));
    is_bundled && (parts.any(is_hash) || (first.len() >= 2 * HASH_BYTES_MIN && is_hash(first) && is_hexadecimal(first)))
}

fn is_hash(part: &str) -> bool {
    let has = |is: fn(&u8) -> bool| part.as_bytes().iter().any(is);
    let (digit, lower, upper) = (has(u8::is_ascii_digit), has(u8::is_ascii_lowercase), has(u8::is_ascii_uppercase));
    let is_mixed = (digit && (lower || upper)) || (upper && lower && !is_capitalized(part));
    part.len() >= HASH_BYTES_MIN && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && is_mixed
}

/// A word, or several words put together as in `DatePicker`: each capital is followed by a small letter.
fn is_capitalized(part: &str) -> bool {
    let bytes = part.as_bytes();
    let ends_word = |pair: &[u8]| !pair[0].is_ascii_uppercase() || pair[1].is_ascii_lowercase();
    bytes.windows(2).all(ends_word) && !bytes.last().is_some_and(u8::is_ascii_uppercase)
}

fn is_hexadecimal(part: &str) -> bool {
    part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::status::Status;

    fn rules(texts: &[&str]) -> FieldRules {
        FieldRules(texts.iter().map(|text| FieldRule::new(text).unwrap()).collect())
    }

    fn shown(fields: &[(FieldName, FieldValue)]) -> String {
        let line = |(name, value): &(FieldName, FieldValue)| {
            format!("{}: {}", name.as_str(), String::from_utf8_lossy(value.as_bytes()))
        };
        fields.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn fields_of(rules: &FieldRules, path: &str, address: Option<&str>) -> String {
        let rules = rules.of_file(path.as_bytes(), address.map(str::as_bytes));
        shown(&rules.into_iter().map(FieldRule::field).collect::<Vec<_>>())
    }

    fn of_file(texts: &[&str], path: &str) -> String {
        fields_of(&rules(texts), path, None)
    }

    #[test]
    fn a_rule_is_a_field_perhaps_behind_patterns() {
        for (text, path, fields) in [
            ("X-A: 1", "/a.css", "X-A: 1"),
            ("X-A:1", "/a.css", "X-A: 1"),
            ("*.css X-A: 1 2", "/a/b.css", "X-A: 1 2"),
            ("*.css,/b/** X-A:1", "/b/c", "X-A: 1"),
            ("*.css,/b/** X-A:1", "/c", ""),
            ("robots.txt X-A: 1", "/robots.txt", "X-A: 1"),
            ("/a?b X-A: 1", "/axb", "X-A: 1"),
            ("* X-A: 1", "/a/b", "X-A: 1"),
            ("@hashed X-A: 1", "/a/index-BsZHvUq1.js", "X-A: 1"),
            ("@hashed X-A: 1", "/a/index.js", ""),
            ("Link:</a.css>; rel=preload", "/a", "Link: </a.css>; rel=preload"),
            ("X-A:", "/a", ""),
        ] {
            assert_eq!(of_file(&[text], path), fields, "{text} {path}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in ["X-A", "", ":", "X A: 1", "*.css", "*.css X-A", "X-A: 1\n", "*.css X A: 1"] {
            let error = FieldRule::new(text);
            assert!(matches!(error, Err(InvalidRule::NotAField)), "{text:?}: {error:?}");
        }
        assert_eq!(FieldRule::new("*.css content-TYPE: a"), Err(InvalidRule::Fixed("content-TYPE".into())));
        assert_eq!(FieldRule::new(r"/a\ X: 1"), Err(InvalidRule::Pattern(InvalidGlob::Unfinished)));
    }

    #[test]
    fn the_last_rule_for_a_field_counts_with_those_of_its_scope() {
        let texts = ["Link: a", "link: b", "X-A: 1", "*.css X-A: 2", "*.css X-A: 3", "/b/* X-A:", "*.css X-B: 1"];
        assert_eq!(of_file(&texts, "/a.js"), "Link: a\nlink: b\nX-A: 1");
        assert_eq!(of_file(&texts, "/a.css"), "Link: a\nlink: b\nX-A: 2\nX-A: 3\nX-B: 1");
        assert_eq!(of_file(&texts, "/b/a.css"), "Link: a\nlink: b\nX-B: 1");
    }

    #[test]
    fn an_index_page_has_the_fields_of_its_directory_too() {
        let rules = rules(&["/ X-A: 1", "*.html X-B: 1"]);
        assert_eq!(fields_of(&rules, "/index.html", Some("/")), "X-A: 1\nX-B: 1");
        assert_eq!(fields_of(&rules, "/a/index.html", Some("/a/")), "X-B: 1");
    }

    #[test]
    fn an_error_is_never_kept_like_a_file() {
        let mut response = Response::new(Status::NOT_FOUND);
        response.fields.push((FieldName::from_static("X-Own"), FieldValue::from_static("old")));
        let mut rules = FieldRules::for_hashed_assets();
        rules.extend([FieldRule::new("/assets/** Expires: 1").unwrap(), FieldRule::new("x-own: new").unwrap()]);
        rules.extend([FieldRule::new("/assets/** X-A: 1").unwrap()]);
        rules.add_to(&mut response, b"/assets/index-BsZHvUq1.js");
        assert_eq!(shown(&response.fields), "x-own: new\nX-A: 1");
    }

    #[test]
    fn names_with_hashes_are_told_from_others() {
        for name in [
            "index-BsZHvUq1.js",
            "index-BsZHvUqx.js",
            "main.2a8b3c4d.chunk.css",
            "main-5PJ7GDWN.js",
            "app.8f3a2b1c9d0e4f5a6b7c.js.map",
            "logo.a1b2c3d4e5f6.svg",
            "6d1d9c8e0f2b4a7c.png",
            "inter-latin-wght-normal-Dx4kXJAl.woff2",
        ] {
            assert!(has_hash(name.as_bytes()), "{name}");
        }
        for name in [
            "index.js",
            "jquery-3.7.1.min.js",
            "bootstrap-datepicker.js",
            "react-DatePicker.js",
            "report-20240101.png",
            "DSC00123.jpg",
            "IMG_20240101_123456.jpg",
            "photo-2024-01-01.jpg",
            "invoice-2024A00017.pdf",
            "index-BsZHvUq1.html",
            "index-BsZHvU1.js",
            "readme",
            "deadbeef.js",
            "font-awesome.css",
            "CHANGELOG-ABCDEFGH.js",
        ] {
            assert!(!has_hash(name.as_bytes()), "{name}");
        }
    }
}
