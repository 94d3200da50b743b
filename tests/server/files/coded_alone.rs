//! Files of which only a coded form is there: `.svgz`, and `page.html.gz` without `page.html`.

use std::io::Write;

use flate2::write::GzEncoder;

use super::*;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Long enough to be compressed, if that were right.
fn picture() -> Vec<u8> {
    format!("<svg xmlns=\"http://www.w3.org/2000/svg\">{}</svg>", "<path d=\"M0 0h9v9z\"/>".repeat(100)).into_bytes()
}

/// Bytes that do not get smaller.
fn noise(len: usize) -> Vec<u8> {
    let next = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    std::iter::successors(Some(1), next).map(|state| (state >> 56) as u8).take(len).collect()
}

fn accepting(server: &Server, path: &str, codings: &str) -> (String, Vec<u8>) {
    ask(server, &format!("GET {path}"), &format!("Accept-Encoding: {codings}\r\n"))
}

#[test]
fn a_gzipped_picture_is_a_picture_in_gzip() {
    let coded = gzip(&picture());
    let site = Site::new().with("a.svgz", &coded).with("b.SVGZ", &coded).with("c.x3dz", &coded).with("a.svgz.br", "no");
    let server = site.serve(&[]);
    for (path, media_type) in [("/a.svgz", "image/svg+xml"), ("/b.SVGZ", "image/svg+xml"), ("/c.x3dz", "model/x3d+xml")]
    {
        for codings in ["gzip", "gzip, br, zstd", "br, gzip;q=0.1", "identity;q=0, *"] {
            let (head, content) = accepting(&server, path, codings);
            assert_eq!(field(&head, "Content-Type"), Some(media_type), "{path} {codings}: {head}");
            assert_eq!(field(&head, "Content-Encoding"), Some("gzip"), "{path} {codings}: {head}");
            assert_eq!(field(&head, "Vary"), Some("Accept-Encoding"), "{head}");
            assert!(content == coded, "{path} {codings}: coded once");
        }
    }
}

#[test]
fn who_does_not_take_gzip_gets_it_decoded() {
    let site = Site::new().with("a.svgz", gzip(&picture()));
    let server = site.serve(&[]);
    let (plain_head, content) = get(&server, "/a.svgz");
    assert!(content == picture());
    assert_eq!(field(&plain_head, "Content-Encoding"), None);
    assert_eq!(field(&plain_head, "Vary"), Some("Accept-Encoding"));
    for codings in ["identity", "br", "gzip;q=0", "", "zstd, br;q=0.5"] {
        let (head, content) = accepting(&server, "/a.svgz", codings);
        assert!(status(&head) == "200" && content == picture(), "{codings}: {head}");
        assert_eq!(field(&head, "ETag"), field(&plain_head, "ETag"));
    }
    let (coded_head, _) = accepting(&server, "/a.svgz", "gzip");
    assert_ne!(field(&coded_head, "ETag"), field(&plain_head, "ETag"), "other bytes have another tag");
    let tag = field(&plain_head, "ETag").unwrap();
    let (head, _) = ask(&server, "GET /a.svgz", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(status(&head), "304");
    let (head, content) = ask(&server, "GET /a.svgz", "Range: bytes=1-3\r\n");
    assert!(status(&head) == "206" && content == b"svg", "{head}");
    assert_eq!(status(&accepting(&server, "/a.svgz", "identity;q=0, gzip;q=0").0), "406");
}

#[test]
fn a_gzip_file_that_is_asked_for_by_name_stays_one() {
    let coded = gzip(b"{\"a\": 1}");
    let names = ["a.json.gz", "a.svg.gz", "a.tar.gz", "a.tgz", "a.gz"];
    let site = names.iter().fold(Site::new(), |site, name| site.with(name, &coded));
    let server = site.serve(&[]);
    for name in names {
        let (head, content) = accepting(&server, &format!("/{name}"), "gzip, br");
        assert_eq!(field(&head, "Content-Type"), Some("application/gzip"), "{name}");
        assert_eq!(field(&head, "Content-Encoding"), None, "{name}");
        assert!(content == coded, "{name}");
    }
}

#[test]
fn what_is_compressed_already_is_not_compressed_again() {
    let names =
        ["a.zip", "a.woff2", "a.woff", "a.png", "a.jpg", "a.webp", "a.mp4", "a.pdf", "a.zst", "a.br", "a.7z", "a.usdz"];
    let site = names.iter().fold(Site::new(), |site, name| site.with(name, vec![b'a'; 4096]));
    let server = site.serve(&[]);
    for name in names {
        let (head, content) = accepting(&server, &format!("/{name}"), "gzip, br, zstd");
        assert_eq!(field(&head, "Content-Encoding"), None, "{name}");
        assert_eq!(content.len(), 4096, "{name}");
    }
}

#[test]
fn a_coded_form_alone_stands_for_its_file() {
    let page = vec![b'p'; 1000];
    let zstd = zstd::bulk::compress(&page, 3).unwrap();
    let site = Site::new()
        .with("a.html.gz", gzip(&page))
        .with("b.html.gz", gzip(&page))
        .with("b.html.zst", &zstd)
        .with("d/index.html.gz", gzip(&page))
        .with("folder.gz", gzip(&page))
        .with("folder/x", "x")
        .with("c.gz", gzip(b"c"))
        .with("c.html", "page")
        .with(".well-known.gz", gzip(&page));
    let server = site.serve(&["--browse"]);
    for path in ["/a.html", "/d/"] {
        let (head, content) = accepting(&server, path, "gzip");
        assert_eq!(field(&head, "Content-Type"), Some("text/html; charset=utf-8"), "{head}");
        assert_eq!(field(&head, "Content-Encoding"), Some("gzip"), "{head}");
        assert!(content == gzip(&page), "{path}");
        let (head, content) = get(&server, path);
        assert!(field(&head, "Content-Encoding").is_none() && content == page, "{head}");
    }
    assert!(accepting(&server, "/b.html", "gzip, zstd").1 == zstd);
    assert!(accepting(&server, "/b.html", "br").1 == page);
    assert_eq!(status(&accepting(&server, "/a.html", "identity;q=0, br").0), "406");
    assert_eq!(status(&get(&server, "/folder").0), "301", "the folder is there");
    assert_eq!(status(&get(&server, "/a").0), "404");
    assert_eq!(get(&server, "/c").1, b"c");
    let server = site.serve(&["--try-html"]);
    assert_eq!(get(&server, "/c").1, b"c", "a file before a page");
    assert_eq!(get(&server, "/c.html").1, b"page");
    assert_eq!(get(&server, "/a").1, page);
    assert_eq!(status(&get(&server, "/.well-known").0), "404", "what is hidden stays hidden");
}

#[test]
fn the_page_for_everything_may_be_coded_and_that_of_404_may_not() {
    let site = Site::new().with("index.html.gz", gzip(b"app")).with("404.html.gz", gzip(b"own page"));
    let server = site.serve(&["--spa"]);
    let (head, content) = accepting(&server, "/some/route", "gzip");
    assert!(field(&head, "Content-Encoding") == Some("gzip") && content == gzip(b"app"), "{head}");
    assert_eq!(get(&server, "/some/route").1, b"app");
    let (head, content) = accepting(&site.serve(&[]), "/some/route", "gzip");
    assert_eq!((status(&head), field(&head, "Content-Encoding"), &content[..]), ("404", None, &b"404 Not Found\n"[..]));
}

#[test]
fn the_file_itself_comes_back_into_its_place() {
    let site = Site::new().with("a.html.gz", gzip(b"coded"));
    let server = site.serve(&[]);
    assert_eq!(get(&server, "/a.html").1, b"coded");
    site.replace("a.html", b"itself");
    wait_until("the file itself", || get(&server, "/a.html").1 == b"itself");
    fs::remove_file(site.root.join("a.html")).unwrap();
    wait_until("its coded form", || get(&server, "/a.html").1 == b"coded");
    fs::remove_file(site.root.join("a.html.gz")).unwrap();
    wait_until("nothing", || status(&get(&server, "/a.html").0) == "404");
}

#[test]
fn what_cannot_be_decoded_is_sent_to_those_who_take_it() {
    let broken = b"this is no gzip file".to_vec();
    let site = Site::new().with("broken.html.gz", &broken).with("large.html.gz", gzip(&vec![0; (8 << 20) + 1]));
    let server = site.serve(&[]);
    for path in ["/broken.html", "/large.html"] {
        assert_eq!(status(&accepting(&server, path, "identity").0), "406", "{path}");
        // A request without the field takes every coding (RFC 9110 \u{a7}12.5.3).
        assert_eq!(field(&get(&server, path).0, "Content-Encoding"), Some("gzip"), "{path}");
    }
    assert!(accepting(&server, "/broken.html", "gzip").1 == broken);
    server.wait_for_log("broken.html: cannot recode it");
    let nothing_kept = site.serve(&["--file-cache", "0"]);
    assert_eq!(status(&accepting(&nothing_kept, "/large.html", "gzip").0), "200");
    assert_eq!(status(&accepting(&nothing_kept, "/large.html", "identity").0), "406");
}

#[test]
fn what_is_decoded_has_the_tag_of_the_file_itself() {
    let content = noise(200_000);
    let site = Site::new().with("alone.bin.gz", gzip(&content)).with("there.bin", &content);
    let server = site.serve(&[]);
    let tag = |codings| {
        let (head, found) = accepting(&server, "/alone.bin", codings);
        assert!(found == if codings == "gzip" { gzip(&content) } else { content.clone() }, "{head}");
        field(&head, "ETag").unwrap().to_string()
    };
    let (coded, decoded) = (tag("gzip"), tag("identity"));
    assert_eq!(Some(&*decoded), field(&get(&server, "/there.bin").0, "ETag"));
    assert_ne!(coded, decoded);
    let part = |tag: &str| {
        let fields = format!("Accept-Encoding: identity\r\nRange: bytes=199990-\r\nIf-Range: {tag}\r\n");
        ask(&server, "GET /alone.bin", &fields)
    };
    let (head, found) = part(&decoded);
    assert!(status(&head) == "206" && found == content[199_990..], "{head}");
    assert_eq!(status(&part(&coded).0), "200", "a part of other bytes");
    let (head, _) = ask(&server, "HEAD /alone.bin", "");
    assert_eq!((field(&head, "Content-Length"), field(&head, "ETag")), (Some("200000"), Some(&*decoded)));
    let modified = |path| field(&get(&server, path).0, "Last-Modified").map(str::to_owned);
    assert!(modified("/alone.bin").is_some());
}

#[test]
fn the_coded_form_of_a_single_file_stands_in_for_it() {
    let site = Site::new().with("a.html", "itself").with("a.html.gz", gzip(b"coded")).with("b.html.gz", gzip(b"b"));
    let file = site.root.join("a.html");
    let server = Server::start(&["--try-html", file.to_str().unwrap()]);
    assert_eq!(get(&server, "/a.html").1, b"itself", "it has no further address");
    assert_eq!(accepting(&server, "/", "gzip").1, gzip(b"coded"));
    fs::remove_file(&file).unwrap();
    wait_until("its coded form", || get(&server, "/a.html").1 == b"coded");
    for other in ["/a", "/b.html", "/b", "/a.html.gz"] {
        assert_eq!(status(&get(&server, other).0), "404", "{other}");
    }
}

#[test]
fn nothing_is_said_to_be_missing_of_which_there_is_a_coded_form() {
    let site = Site::new().with("app.html.br", "x");
    let server = site.serve(&["--spa=app.html", "--index=nothing.html"]);
    server.wait_for_log("--index: ROOT has no file nothing.html");
    assert!(!server.log().contains("--spa: ROOT has no file"), "{}", server.log());
}
