//! Pages for errors: what people see in the place of the server's own.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::base::regular_file;
use crate::http::body::{Body, Bytes};
use crate::http::fields::{CONTENT_SECURITY_POLICY, FieldValue};
use crate::http::message::{Origin, Response};

/// Pages are kept in memory: all together are no longer than this, in bytes.
const PAGES_BYTES_MAX: u64 = 4 << 20;
const HTML: FieldValue = FieldValue::from_static("text/html; charset=utf-8");

/// The pages of a folder.
#[derive(Debug, Default)]
pub struct ErrorPages {
    /// By the three letters of their names.
    pages: HashMap<[u8; 3], Arc<[u8]>>,
}

impl ErrorPages {
    /// Reads the pages of a folder: `404.html` is that of a status, and `5xx.html` that of all others that begin with the same
    /// digit. May block.
    ///
    /// # Errors
    /// The system's. There is none, or they are too long.
    pub fn read(folder: &Path) -> io::Result<ErrorPages> {
        let (mut pages, mut rest) = (HashMap::new(), PAGES_BYTES_MAX);
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(key) = name.to_str().and_then(key) else { continue };
            let path = entry.path();
            // What a link leads to counts, not the link.
            if fs::metadata(&path)?.len() > rest {
                return Err(io::Error::other("expected pages of at most 4 MiB together: they are kept in memory"));
            }
            let of_page = |error| io::Error::other(format!("{}: {error}", entry.file_name().display()));
            let page = regular_file::read(&path, rest).map_err(of_page)?;
            rest -= page.len() as u64;
            pages.insert(key, page.into());
        }
        match pages.is_empty() {
            true => Err(io::Error::other("expected a page in it, such as 404.html or 5xx.html")),
            false => Ok(ErrorPages { pages }),
        }
    }

    /// Gives an error that was found here its page, if there is one. What an upstream says of an error stays as it is.
    pub fn replace_content(&self, response: &mut Response) {
        if !response.status.is_error() || response.origin != Origin::Here {
            return;
        }
        let code = response.status.code().to_string();
        let Ok(exact) = <[u8; 3]>::try_from(code.as_bytes()) else { return };
        let page = self.pages.get(&exact).or_else(|| self.pages.get(&[exact[0], b'x', b'x']));
        if let Some(page) = page {
            response.content_type = Some(HTML);
            response.body = Body::Bytes(Bytes::Shared(Arc::clone(page), 0..page.len()));
            response.may_be_coded = true;
            // It is that of the server's own page, and would forbid what this one loads.
            response.fields.retain(|(name, _)| !name.is(&CONTENT_SECURITY_POLICY));
        }
    }
}

/// The status, or the class of statuses, that a file is the page of.
fn key(name: &str) -> Option<[u8; 3]> {
    let status: [u8; 3] = name.strip_suffix(".html")?.as_bytes().try_into().ok()?;
    let is_page = matches!(status, [b'4' | b'5', b'x', b'x'])
        || (matches!(status[0], b'4' | b'5') && status.iter().all(u8::is_ascii_digit));
    is_page.then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::status::Status;

    fn pages(names: &[&str]) -> ErrorPages {
        let page = |name: &&str| (key(name).unwrap(), Arc::from(name.as_bytes()));
        ErrorPages { pages: names.iter().map(page).collect() }
    }

    fn content(pages: &ErrorPages, code: u16, origin: Origin) -> Option<String> {
        let mut response = Response::new(Status::from_code(code).unwrap());
        response.origin = origin;
        response.fields.push((CONTENT_SECURITY_POLICY, FieldValue::from_static("default-src 'none'")));
        pages.replace_content(&mut response);
        match &response.body {
            Body::Bytes(Bytes::Shared(bytes, range)) => {
                assert!(response.fields.is_empty(), "its policy was that of another page");
                Some(String::from_utf8(bytes[range.clone()].to_vec()).unwrap())
            }
            _ => None,
        }
    }

    #[test]
    fn the_page_of_a_status_comes_before_that_of_its_class() {
        let pages = pages(&["404.html", "4xx.html", "503.html"]);
        for (code, page) in [
            (404, Some("404.html")),
            (410, Some("4xx.html")),
            (503, Some("503.html")),
            (500, None),
            (200, None),
            (304, None),
        ] {
            assert_eq!(content(&pages, code, Origin::Here).as_deref(), page, "{code}");
        }
        assert_eq!(content(&pages, 404, Origin::Upstream { is_dated: true }), None, "what an upstream says stays");
    }

    #[test]
    fn only_names_of_errors_are_pages() {
        for name in ["404.html", "4xx.html", "5xx.html", "599.html"] {
            assert!(key(name).is_some(), "{name}");
        }
        for name in
            ["200.html", "304.html", "3xx.html", "40x.html", "404.htm", "404", "4XX.html", "0404.html", "index.html"]
        {
            assert!(key(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_folder_without_pages_and_one_with_too_much_are_refused() {
        let folder = std::env::temp_dir().join(format!("tidemill-{}-error-pages", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("index.html"), "x").unwrap();
        let none = ErrorPages::read(&folder).map(|_| ());
        fs::write(folder.join("404.html"), "gone").unwrap();
        let one = ErrorPages::read(&folder).map(|pages| pages.pages.len());
        fs::File::create(folder.join("5xx.html")).unwrap().set_len(PAGES_BYTES_MAX).unwrap();
        let too_much = ErrorPages::read(&folder).map(|_| ());
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((none.is_err(), one.unwrap(), too_much.is_err()), (true, 1, true));
    }
}
