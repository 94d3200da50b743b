//! Who gets the page of a single-page application for a path that does not exist: who goes to a page, and not who loads a
//! part of one. Otherwise a script that is missing would be a page, which browsers and caches take for the script.

use crate::http::fields::{FieldValue, Fields, VARY};
use crate::http::media_type::MediaTypes;
use crate::http::message::Response;
use crate::http::negotiate::Accept;

/// What the decision depends on, for caches (RFC 9110 §12.5.5).
pub static DECIDING_FIELDS: FieldValue = FieldValue::from_static("Accept, Sec-Fetch-Dest");

/// An error, with what it depended on that it came to it. Its own form, which depends on Accept, is said with that.
pub fn varying(mut error: Response) -> Response {
    error.fields.retain(|(name, _)| !name.is(&VARY));
    error.with_field(VARY, DECIDING_FIELDS.clone())
}

/// Why a request gets the page, or gets 404.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The page: Sec-Fetch-Dest says that it will be shown.
    Shown,
    /// 404: Sec-Fetch-Dest says that a page will load it.
    Loaded,
    /// The page: Accept names HTML.
    NamesHtml,
    /// 404: a script asks, and would rather have something else than HTML.
    WantsOther,
    /// 404: the path has the extension of something else than a page, and Accept does not name HTML.
    OtherExtension,
    /// The page: nothing speaks against it.
    Nothing,
}

impl Reason {
    /// Why a request with these `fields` for `path`, which does not exist, gets the page or does not. `path` is resolved,
    /// relative to the root, and has its slash at the end if it has one.
    pub fn of(fields: Fields<'_>, path: &[u8], media_types: &MediaTypes) -> Reason {
        let destination = Destination::of(fields);
        match destination {
            Destination::Shown => return Reason::Shown,
            Destination::Loaded => return Reason::Loaded,
            Destination::Script | Destination::Unknown => {}
        }
        let accept = Accept::of(fields);
        if accept.names_html() {
            Reason::NamesHtml
        } else if destination == Destination::Script && (!accept.admits_html() || accept.prefers_json()) {
            Reason::WantsOther
        } else if has_other_extension(path, media_types) {
            Reason::OtherExtension
        } else {
            Reason::Nothing
        }
    }

    /// Whether the request gets the page.
    pub fn is_for_page(self) -> bool {
        match self {
            Reason::Shown | Reason::NamesHtml | Reason::Nothing => true,
            Reason::Loaded | Reason::WantsOther | Reason::OtherExtension => false,
        }
    }

    /// The reason in words.
    pub fn text(self) -> &'static str {
        match self {
            Reason::Shown => "Sec-Fetch-Dest says that a page will be shown",
            Reason::Loaded => "Sec-Fetch-Dest says that it is loaded by a page",
            Reason::NamesHtml => "Accept names text/html",
            Reason::WantsOther => "a script asks for it, and Accept would rather have something else than HTML",
            Reason::OtherExtension => {
                "it has the extension of something else than a page, and Accept does not name text/html"
            }
            Reason::Nothing => "neither Sec-Fetch-Dest nor its extension says that it is something else than a page",
        }
    }
}

/// What becomes of a response, as far as Sec-Fetch-Dest tells. Browsers send it over HTTPS and to their own machine alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destination {
    /// It is shown: somebody goes there, or it is embedded as a whole.
    Shown,
    /// A page loads it as a script, a style, an image and so on.
    Loaded,
    /// A script reads it (`empty`).
    Script,
    /// The field is missing, or has a value that is not known and is to be ignored (Fetch Metadata §2.1).
    Unknown,
}

impl Destination {
    fn of(fields: Fields<'_>) -> Destination {
        let mut lines = fields.all("sec-fetch-dest");
        let (Some(value), None) = (lines.next(), lines.next()) else { return Destination::Unknown };
        match value {
            b"document" | b"iframe" | b"frame" | b"fencedframe" | b"embed" | b"object" => Destination::Shown,
            b"empty" => Destination::Script,
            b"audio" | b"audioworklet" | b"font" | b"image" | b"json" | b"manifest" | b"paintworklet" | b"report"
            | b"script" | b"serviceworker" | b"sharedworker" | b"style" | b"text" | b"track" | b"video"
            | b"webidentity" | b"worker" | b"xslt" => Destination::Loaded,
            _ => Destination::Unknown,
        }
    }
}

/// Whether the name at the end of `path` has an extension that is known, and not one of pages. A route may well have a
/// dot in it, such as `/releases/v1.2`.
fn has_other_extension(path: &[u8], media_types: &MediaTypes) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let has_dot = name.iter().skip(1).any(|byte| *byte == b'.');
    has_dot && media_types.known_for_path(path).is_some_and(|media_type| !is_page(media_type.as_bytes()))
}

fn is_page(media_type: &[u8]) -> bool {
    [&b"text/html"[..], b"application/xhtml+xml"].iter().any(|page| media_type.starts_with(page))
}

#[cfg(test)]
mod tests {
    use super::Reason::{Loaded, NamesHtml, Nothing, OtherExtension, Shown, WantsOther};
    use super::*;
    use crate::http::sections::Section;

    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    const PATHS: [&str; 2] = ["assets/app.js", "some/route"];

    fn reason(path: &str, lines: &[(&str, &str)]) -> Reason {
        Reason::of(Section::of(lines).fields(), path.as_bytes(), &MediaTypes::default())
    }

    /// The reasons for an asset and for a route.
    fn reasons(lines: &[(&str, &str)]) -> [Reason; 2] {
        PATHS.map(|path| reason(path, lines))
    }

    #[test]
    fn a_destination_that_is_known_decides_whatever_accept_says() {
        for accept in [BROWSER, "*/*", "image/avif,*/*;q=0.1", "text/html;q=0"] {
            for shown in ["document", "iframe", "frame", "fencedframe", "embed", "object"] {
                assert_eq!(reasons(&[("Sec-Fetch-Dest", shown), ("Accept", accept)]), [Shown; 2], "{shown} {accept}");
            }
            for loaded in ["script", "style", "image", "font", "worker", "manifest", "json", "serviceworker", "video"] {
                assert_eq!(
                    reasons(&[("Accept", accept), ("Sec-Fetch-Dest", loaded)]),
                    [Loaded; 2],
                    "{loaded} {accept}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_destination_is_ignored() {
        for other in ["", "Script", "scripts", "script;a", "\"script\"", "nested-document"] {
            assert_eq!(reasons(&[("Sec-Fetch-Dest", other)]), [OtherExtension, Nothing], "{other}");
        }
        let twice = [("Sec-Fetch-Dest", "script"), ("Sec-Fetch-Dest", "script")];
        assert_eq!(reasons(&twice), [OtherExtension, Nothing], "no single value");
    }

    #[test]
    fn without_a_destination_the_extension_decides_unless_html_is_named() {
        for accept in [BROWSER, "text/html", "TEXT/HTML;q=0.1", "application/json, text/html"] {
            assert_eq!(reasons(&[("Accept", accept)]), [NamesHtml; 2], "{accept}");
        }
        assert_eq!(reasons(&[]), [OtherExtension, Nothing]);
        for accept in ["*/*", "text/*", "", "text/html;q=0", "text/css,*/*;q=0.1", "application/json", "text/html5"] {
            assert_eq!(reasons(&[("Accept", accept)]), [OtherExtension, Nothing], "{accept}");
        }
    }

    #[test]
    fn what_a_script_asks_for_depends_on_what_it_accepts() {
        let asked = |accept| reasons(&[("Sec-Fetch-Dest", "empty"), ("Accept", accept)]);
        for accept in [BROWSER, "text/html", "application/json, text/html"] {
            assert_eq!(asked(accept), [NamesHtml; 2], "{accept}");
        }
        assert_eq!(asked("*/*"), [OtherExtension, Nothing], "fetch() says so by default");
        for accept in ["application/json", "application/json, text/plain, */*", "text/event-stream", "text/html;q=0"] {
            assert_eq!(asked(accept), [WantsOther; 2], "{accept}");
        }
    }

    #[test]
    fn only_a_known_extension_of_something_else_makes_an_asset() {
        for asset in ["favicon.ico", "a/b.CSS", "app.js.map", "a.b.c.png", "robots.txt", "v1.2/data.json", "x.svgz"] {
            assert_eq!(reason(asset, &[]), OtherExtension, "{asset}");
        }
        for route in [
            "",
            "/",
            "route",
            "releases/v1.2",
            "users/john.unknown",
            "old.html",
            "old.htm",
            "old.xhtml",
            ".js",
            "a/.css",
            "a.js/",
            "a.js/b",
            "README",
            "dot.",
            "js",
        ] {
            assert_eq!(reason(route, &[]), Nothing, "{route}");
        }
        let own = MediaTypes::default().with_overrides("text/html php\napplication/x-own own\n").unwrap();
        let of = |path: &str| Reason::of(Fields::default(), path.as_bytes(), &own);
        assert_eq!([of("a.php"), of("a.own"), of("a.unknown")], [Nothing, OtherExtension, Nothing]);
        let all = MediaTypes::default().with_default(FieldValue::from_static("text/plain"));
        assert_eq!(
            Reason::of(Fields::default(), b"releases/v1.2", &all),
            Nothing,
            "the default says nothing of a name"
        );
    }
}
