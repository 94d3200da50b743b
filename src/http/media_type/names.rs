//! Files whose whole name tells their type: what stands under `/.well-known/` without an extension, and what is read.

use super::{extensions, last_segment};
use crate::http::negotiate::Coding;

/// Ends of paths, with a slash in front, and their types.
static NAMES: [(&str, &str); 36] = [
    // Under /.well-known/ (RFC 8615), by what defines them.
    ("/.well-known/api-catalog", "application/linkset+json"),
    ("/.well-known/atproto-did", "text/plain"),
    ("/.well-known/discord", "text/plain"),
    ("/.well-known/host-meta", "application/xrd+xml"),
    ("/.well-known/http-opportunistic", "application/json"),
    ("/.well-known/jwt-vc-issuer", "application/json"),
    ("/.well-known/matrix/client", "application/json"),
    ("/.well-known/matrix/server", "application/json"),
    ("/.well-known/matrix/support", "application/json"),
    ("/.well-known/nodeinfo", "application/json"),
    ("/.well-known/oauth-authorization-server", "application/json"),
    ("/.well-known/oauth-protected-resource", "application/json"),
    ("/.well-known/openid-configuration", "application/json"),
    ("/.well-known/openid-credential-issuer", "application/json"),
    ("/.well-known/passkey-endpoints", "application/json"),
    ("/.well-known/smart-configuration", "application/json"),
    ("/.well-known/traffic-advice", "application/trafficadvice+json"),
    ("/.well-known/uma2-configuration", "application/json"),
    ("/.well-known/web-app-origin-association", "application/json"),
    ("/.well-known/webauthn", "application/json"),
    ("/.well-known/webfinger", "application/jrd+json"),
    // Also at the root of a site.
    ("/apple-app-site-association", "application/json"),
    // What people put beside their sources, to be read.
    ("/AUTHORS", "text/plain"),
    ("/CHANGELOG", "text/plain"),
    ("/CHANGES", "text/plain"),
    ("/CODEOWNERS", "text/plain"),
    ("/COPYING", "text/plain"),
    ("/Dockerfile", "text/plain"),
    ("/INSTALL", "text/plain"),
    ("/LICENSE", "text/plain"),
    ("/MD5SUMS", "text/plain"),
    ("/Makefile", "text/plain"),
    ("/NEWS", "text/plain"),
    ("/README", "text/plain"),
    ("/SHA256SUMS", "text/plain"),
    ("/SHA512SUMS", "text/plain"),
];

/// The type of the file at `path`, relative to the root, if its name tells it.
pub(super) fn built_in(path: &[u8]) -> Option<&'static str> {
    let found = NAMES.iter().find(|(end, _)| is_path_end(end, path))?;
    Some(found.1)
}

/// Extensions that stand for another one in gzip: `.svgz` is `.svg` (SVG 2, appendix on its media type), and the
/// formats of X3D and VRML have a `z` at their end. A name with `.gz` behind it is that of a gzip file.
static GZIPPED: [&str; 5] = ["svgz", "wrz", "x3dbz", "x3dvz", "x3dz"];

/// The coding that the name of a file says its content has. Its media type is that of the content without it.
pub fn coding_of_name(path: &[u8]) -> Coding {
    let extension = extensions(last_segment(path)).last().unwrap_or_default();
    match GZIPPED.iter().any(|known| extension.eq_ignore_ascii_case(known.as_bytes())) {
        true => Coding::Gzip,
        false => Coding::Identity,
    }
}

/// Whether `path`, which has no slash in front, ends in `end`, which has one.
pub(super) fn is_path_end(end: &str, path: &[u8]) -> bool {
    path == &end.as_bytes()[1..] || path.ends_with(end.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_name_tells_the_type() {
        for (path, expected) in [
            ("apple-app-site-association", Some("application/json")),
            (".well-known/apple-app-site-association", Some("application/json")),
            ("apple-app-site-association.txt", None),
            ("not-apple-app-site-association", None),
            (".well-known/matrix/client", Some("application/json")),
            ("matrix/client", None),
            ("client", None),
            ("src/README", Some("text/plain")),
            ("readme", None),
            ("README/x", None),
        ] {
            assert_eq!(built_in(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn some_extensions_stand_for_another_one_in_gzip() {
        for path in ["a.svgz", "b/a.SVGZ", "a.x3dz", "a.b.wrz"] {
            assert_eq!(coding_of_name(path.as_bytes()), Coding::Gzip, "{path}");
        }
        for path in [
            "",
            "a",
            "svgz",
            "a.svg",
            "a.svg.gz",
            "a.json.gz",
            "a.tgz",
            "a.emz",
            "a.kmz",
            "a.svgz.txt",
            "a.svgz/b",
            ".svgz",
        ] {
            assert_eq!(coding_of_name(path.as_bytes()), Coding::Identity, "{path}");
        }
    }

    #[test]
    fn each_name_begins_with_a_slash_and_stands_there_once() {
        for (at, (name, _)) in NAMES.iter().enumerate() {
            assert!(name.starts_with('/') && !name.ends_with('/'), "{name}");
            assert!(!NAMES[..at].iter().any(|(other, _)| other == name), "{name}");
        }
    }
}
