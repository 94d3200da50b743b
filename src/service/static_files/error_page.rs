//! The page that people see when a file cannot be served: what has happened, and the way back. It looks like a listing.

use std::fmt;

use super::listing::{Above, append, append_crumb, append_opening, append_shortened, append_text};
use crate::http::message::RequestHead;
use crate::http::method::Method;
use crate::http::status::Status;
use crate::http::target::percent_decode;

/// What a page takes at most, in bytes, but for the link of a redirect.
const PAGE_BYTES_MAX: usize = 4096;
/// How many folders of a path are shown, from its end.
const FOLDERS_MAX: usize = 3;
/// How much of a name is shown, in bytes of HTML.
const NAME_BYTES_MAX: usize = 96;
/// How many levels a relative reference goes up.
const LEVELS_MAX: usize = 32;

/// The page for `status`. A redirect has the `location` that it leads to.
pub fn error_page(request: &RequestHead<'_>, status: Status, location: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(PAGE_BYTES_MAX);
    append_opening(&mut out, |out| append(out, format_args!("{status}")), "");
    append_trail(&mut out, request.target.path);
    let sentence = sentence(status);
    append(
        &mut out,
        format_args!("</ol></nav>\n<h1>{status}</h1>\n<p class=\"sum\">{sentence}</p>\n</header>\n<main>\n"),
    );
    if let Some(location) = location {
        append_location(&mut out, location);
    }
    let may_pass = matches!(status, Status::INTERNAL_SERVER_ERROR | Status::SERVICE_UNAVAILABLE);
    if may_pass && matches!(request.method, Method::Get | Method::Head) {
        out.extend_from_slice(b"<p><a href=\"\">Try again</a></p>\n");
    }
    append_way_back(&mut out, request.target.path);
    out.extend_from_slice(b"</main>\n</body>\n</html>\n");
    out
}

/// What a status means for the visitor.
fn sentence(status: Status) -> &'static str {
    match status {
        Status::MOVED_PERMANENTLY => "This page has another address.",
        Status::BAD_REQUEST => "There cannot be a page at this address: it is not written as addresses are.",
        Status::FORBIDDEN => "There is something at this address, but it may not be shown.",
        Status::NOT_FOUND => "There is nothing at this address: it may be misspelt, or the page is gone.",
        Status::METHOD_NOT_ALLOWED => "This address can only be read: nothing can be sent to it or changed.",
        Status::NOT_ACCEPTABLE => "This page is there only in forms that your browser does not accept.",
        Status::PRECONDITION_FAILED => "This page is no longer the one that you know: load it anew.",
        Status::RANGE_NOT_SATISFIABLE => "The part that was asked for lies behind the end of the file.",
        Status::NOT_IMPLEMENTED => "The server does not know what it was asked to do with this address.",
        Status::SERVICE_UNAVAILABLE => "The server has too much to do just now: try again in a moment.",
        _ if status.code() >= 500 => "Something went wrong on the server: try again later.",
        _ => "The server cannot answer this request.",
    }
}

/// Where a folder is, seen from the address of the page; counted in levels above the last slash of that address.
///
/// The reference is relative, so that it holds behind a proxy that takes a prefix off the path. Only from very far down
/// it is the absolute one of the root.
struct Up(usize);

impl fmt::Display for Up {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > LEVELS_MAX { f.write_str("/") } else { Above(self.0).fmt(f) }
    }
}

/// The names of the folders of a path, the last one first, each with its level; the root comes last, and has no name. What
/// is between two slashes counts as a level even if it is empty, because it does so for browsers.
fn folders(path: &[u8]) -> impl Iterator<Item = (usize, &[u8])> + Clone {
    path.rsplit(|byte| *byte == b'/').skip(1).enumerate()
}

/// The name behind the last slash: empty for a folder.
fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// The path as a listing shows it, but for what is too long: the root, the last folders and the name.
fn append_trail(out: &mut Vec<u8>, path: &[u8]) {
    let (folders, name) = (folders(path), name(path));
    let Some((root, _)) = folders.clone().last() else { return };
    append_crumb(out, Up(root), root == 0 && name.is_empty(), |_| ());
    let named: Vec<_> = folders.filter(|(_, name)| !name.is_empty()).take(FOLDERS_MAX + 1).collect();
    if named.len() > FOLDERS_MAX {
        out.extend_from_slice("<li>…/</li>\n".as_bytes());
    }
    for (level, folder) in named.into_iter().take(FOLDERS_MAX).rev() {
        append_crumb(out, Up(level), level == 0 && name.is_empty(), |out| append_name(out, folder));
    }
    if !name.is_empty() {
        out.extend_from_slice(b"<li aria-current=\"page\"><bdi>");
        append_name(out, name);
        out.extend_from_slice(b"</bdi></li>\n");
    }
}

/// A segment of a path, decoded if it can be.
fn append_name(out: &mut Vec<u8>, segment: &[u8]) {
    let decoded = percent_decode(segment);
    append_shortened(out, decoded.as_deref().unwrap_or(segment), NAME_BYTES_MAX);
}

fn append_way_back(out: &mut Vec<u8>, path: &[u8]) {
    let Some((root, _)) = folders(path).last() else { return };
    let parent = if name(path).is_empty() { 1 } else { 0 };
    if parent < root {
        let (parent, root) = (Up(parent), Up(root));
        append(out, format_args!("<p>Back to <a href=\"{parent}\">the folder above</a> or "));
        append(out, format_args!("<a href=\"{root}\">the start page</a>.</p>\n"));
    } else if parent == root {
        append(out, format_args!("<p>Back to <a href=\"{}\">the start page</a>.</p>\n", Up(root)));
    }
}

fn append_location(out: &mut Vec<u8>, location: &[u8]) {
    out.extend_from_slice(b"<p>Go on to <a href=\"");
    append_text(out, location);
    out.extend_from_slice(b"\">");
    append_shortened(out, location, NAME_BYTES_MAX);
    out.extend_from_slice(b"</a>.</p>\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::fields::Fields;
    use crate::http::message::{Announced, Version};
    use crate::http::target::{Target, TargetForm};

    const ANSWERS: [Status; 12] = [
        Status::MOVED_PERMANENTLY,
        Status::BAD_REQUEST,
        Status::FORBIDDEN,
        Status::NOT_FOUND,
        Status::METHOD_NOT_ALLOWED,
        Status::NOT_ACCEPTABLE,
        Status::PRECONDITION_FAILED,
        Status::RANGE_NOT_SATISFIABLE,
        Status::INTERNAL_SERVER_ERROR,
        Status::NOT_IMPLEMENTED,
        Status::SERVICE_UNAVAILABLE,
        Status::LOOP_DETECTED,
    ];

    fn page(method: Method, path: &[u8], status: Status) -> String {
        let target = Target { form: TargetForm::Origin, raw: path, authority: None, path, query: None };
        let (version, announced) = (Version::Http11, Announced::Nothing);
        let request = RequestHead { method, target, version, fields: Fields::new(b"", &[]), announced, protocol: None };
        String::from_utf8(error_page(&request, status, None)).expect("pages are UTF-8")
    }

    fn not_found(path: &[u8]) -> String {
        page(Method::Get, path, Status::NOT_FOUND)
    }

    /// What the path is shown as: each part with its reference, if it has one.
    fn trail(page: &str) -> Vec<(Option<&str>, &str)> {
        let list = page.split_once("<ol>\n").and_then(|(_, rest)| rest.split_once("</ol>")).expect("there is a path").0;
        let parts = list.lines().map(|line| {
            let reference = line.split_once("href=\"").map(|(_, rest)| rest.split_once('"').expect("it ends").0);
            let text = line.rsplit_once("<bdi>").map_or(line, |(_, rest)| rest);
            (reference, text.trim_start_matches("<li>").split("</").next().expect("a first one"))
        });
        parts.collect()
    }

    /// The references of the page, without that to itself.
    fn references(page: &str) -> Vec<&str> {
        let all = page.split("<a href=\"").skip(1).map(|rest| rest.split_once('"').expect("it ends").0);
        all.filter(|reference| !reference.is_empty()).collect()
    }

    /// Where a browser goes from `path` (RFC 3986 §5.2).
    fn resolved(path: &str, reference: &str) -> String {
        if reference == "/" {
            return reference.into();
        }
        let mut folder = &path[..path.rfind('/').expect("paths begin with a slash")];
        for _ in reference.matches("../") {
            folder = &folder[..folder.rfind('/').unwrap_or_default()];
        }
        assert_eq!(reference.trim_start_matches("./").trim_start_matches("../"), "");
        format!("{folder}/")
    }

    #[test]
    fn the_path_leads_back_up_from_a_file_and_from_a_folder() {
        let page = not_found(b"/a%20b/%3Cc%3E/d.html");
        let file = [(Some("./../../"), ""), (Some("./../"), "a b"), (Some("./"), "&lt;c&gt;"), (None, "d.html")];
        assert_eq!(trail(&page), file);
        assert!(page.contains(
            "<p>Back to <a href=\"./\">the folder above</a> or <a href=\"./../../\">the start page</a>.</p>"
        ));
        let page = not_found(b"/a/b/");
        assert_eq!(trail(&page), [(Some("./../../"), ""), (Some("./../"), "a"), (Some("./"), "b")]);
        assert!(page.contains("<a href=\"./\" aria-current=\"page\"><bdi>b</bdi>/</a>"));
        assert!(page.contains("<a href=\"./../\">the folder above</a>"));
    }

    #[test]
    fn the_root_is_not_called_the_folder_above_and_has_none() {
        for (path, reference) in [(&b"/x"[..], "./"), (b"/x/", "./../")] {
            let page = not_found(path);
            assert!(page.contains(&format!("<p>Back to <a href=\"{reference}\">the start page</a>.</p>")), "{page}");
            assert!(!page.contains("the folder above"));
        }
        let page = not_found(b"/");
        assert!(!page.contains("Back to"));
        assert_eq!(trail(&page), [(Some("./"), "")]);
        // Forms of a target that are no path.
        for path in [&b"*"[..], b""] {
            assert_eq!(references(&not_found(path)), [""; 0]);
        }
    }

    #[test]
    fn a_deep_path_is_shown_from_its_end_and_a_long_name_from_its_beginning() {
        let page = not_found(format!("/1/2/3/4/5/{}", "n".repeat(5000)).as_bytes());
        let name = format!("{}…", "n".repeat(NAME_BYTES_MAX));
        let shown = [
            (Some("./../../../../../"), ""),
            (None, "…/"),
            (Some("./../../"), "3"),
            (Some("./../"), "4"),
            (Some("./"), "5"),
            (None, &name[..]),
        ];
        assert_eq!(trail(&page), shown);
        assert_eq!(
            references(&not_found("/x".repeat(LEVELS_MAX + 1).as_bytes()))[0].matches("../").count(),
            LEVELS_MAX
        );
        assert_eq!(references(&not_found("/x".repeat(LEVELS_MAX + 2).as_bytes()))[0], "/");
    }

    #[test]
    fn each_status_says_what_it_means_and_only_what_may_pass_can_be_tried_again() {
        let sentences: std::collections::BTreeSet<_> = ANSWERS.into_iter().map(sentence).collect();
        assert_eq!(sentences.len(), ANSWERS.len() - 1, "500 and 508 are the same to visitors");
        for status in ANSWERS {
            let page = page(Method::Get, b"/x", status);
            assert!(page.contains(&format!("<title>{status}</title>")) && page.contains(&format!("<h1>{status}</h1>")));
            let sentence = sentence(status);
            assert!(page.contains(&format!("<p class=\"sum\">{sentence}</p>")) && sentence.ends_with('.'), "{page}");
            let may_pass = matches!(status.code(), 500 | 503);
            assert_eq!(page.contains("<a href=\"\">Try again</a>"), may_pass, "{status}");
        }
        // What was sent would not be sent again by a link.
        assert!(!page(Method::Post, b"/x", Status::SERVICE_UNAVAILABLE).contains("Try again</a>"));
    }

    #[test]
    fn a_page_is_small_whatever_was_asked_for() {
        let worst = ["\"", "%22", "%E2%80%AE", "%FF", "%00", "%", "a", "&"].map(|name| name.repeat(300));
        let paths = worst.iter().flat_map(|name| [format!("/{name}").repeat(9), "/".repeat(8000), format!("/{name}/")]);
        for path in paths.chain(["/x".repeat(4000), format!("/{}", "y/".repeat(LEVELS_MAX - 1))]) {
            for status in ANSWERS {
                let bytes = page(Method::Get, path.as_bytes(), status).len();
                assert!(bytes < PAGE_BYTES_MAX, "{bytes} bytes for {path}");
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_of_a_path_becomes_markup(path in prop::collection::vec(prop::sample::select(vec![
            "/", "//", "a", "<", ">", "\"", "'", "&", "%3C", "%22", "%27", "%26lt;", "%", "%0a", "javascript:", "..",
        ]), 0..40)) {
            let path = format!("/{}", path.concat());
            let tags = |page: &str| page.matches('<').count();
            let plain: String = path.chars().map(|c| if c == '/' { '/' } else { 'x' }).collect();
            let (page, plain) = (not_found(path.as_bytes()), not_found(plain.as_bytes()));
            prop_assert_eq!(tags(&page), tags(&plain));
            prop_assert_eq!(references(&page), references(&plain));
        }

        /// A browser sees a prefix that a proxy has taken off; empty segments are levels for it.
        #[test]
        fn every_reference_leads_to_a_folder_of_the_path_behind_any_prefix(
            path in "(/[a-z]{0,2}){1,40}", prefix in "(/[p-z]{1,3}){0,3}",
        ) {
            let page = not_found(path.as_bytes());
            for reference in references(&page) {
                let address = format!("{prefix}{path}");
                let leads_to = resolved(&address, reference);
                let is_root = reference == references(&page)[0];
                match reference {
                    "/" => prop_assert!(path.matches('/').count() > LEVELS_MAX),
                    _ if is_root => prop_assert_eq!(leads_to, format!("{prefix}/")),
                    _ => prop_assert!(address.starts_with(&leads_to) && leads_to.len() > prefix.len()),
                }
            }
        }
    }
}
