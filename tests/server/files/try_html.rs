//! `--try-html`: pages without their extension, and one address for each.

use super::*;

/// What a reference leads to from this target (RFC 3986 §5.2).
fn resolved(target: &str, reference: &str) -> String {
    let path = target.split('?').next().unwrap();
    let mut folder = &path[..=path.rfind('/').unwrap()];
    let mut rest = reference.strip_prefix("./").unwrap_or(reference);
    if let Some(above) = rest.strip_prefix("../") {
        (folder, rest) = (&folder[..=folder.trim_end_matches('/').rfind('/').unwrap()], above);
    }
    if rest.starts_with('/') { rest.to_string() } else { format!("{folder}{rest}") }
}

fn location(server: &Server, target: &str) -> String {
    let (head, _) = get(server, target);
    assert_eq!(status(&head), "301", "{target}: {head}");
    field(&head, "Location").unwrap().to_string()
}

#[test]
fn a_page_has_one_address() {
    let site = Site::new()
        .with("index.html", "home")
        .with("about.html", "about")
        .with("docs/index.html", "docs")
        .with("docs/a b.html", "a b")
        .with("both.html", "page")
        .with("both/index.html", "folder")
        .with("c:d.html", "c:d")
        .with("data.json", "{}");
    let server = site.serve(&["--try-html"]);
    for (target, content) in [
        ("/", "home"),
        ("/about", "about"),
        ("/docs/", "docs"),
        ("/docs/a%20b", "a b"),
        ("/both", "page"),
        ("/both/", "folder"),
    ] {
        let (head, found) = get(&server, target);
        assert_eq!((status(&head), &found[..]), ("200", content.as_bytes()), "{target}: {head}");
        assert_eq!(field(&head, "Content-Type"), Some("text/html; charset=utf-8"), "{target}");
    }
    for (target, expected) in [
        ("/about.html", "about"),
        ("/about.html?a=b&c", "about?a=b&c"),
        ("/about/", "../about"),
        ("/about/?x", "../about?x"),
        ("/index.html", "./"),
        ("/index", "./"),
        ("/index.html?x", "./?x"),
        ("/docs", "docs/"),
        ("/docs/index.html", "./"),
        ("/docs/index", "./"),
        ("/docs/a%20b.html", "a%20b"),
        ("/docs/a%20b%2Ehtml", "a%20b"),
        ("/docs/a%20b/", "../a%20b"),
        ("/docs%2fa%20b.html", "docs%2Fa%20b"),
        ("/docs%2Findex.html", "docs%2F"),
        ("/docs%2Fa%20b/", "../docs%2Fa%20b"),
        ("/docs/a%20b//", "/docs/a%20b"),
        ("/docs/a%20b%2f", "/docs/a%20b"),
        ("/docs/a%20b/.", "/docs/a%20b"),
        ("/docs/a%20b/x/..", "/docs/a%20b"),
        ("//about.html", "about"),
        ("/both.html", "both"),
        ("/c:d.html", "c%3Ad"),
    ] {
        assert_eq!(location(&server, target), expected, "{target}");
        let (head, _) = get(&server, &resolved(target, expected));
        assert_eq!(status(&head), "200", "{target} to {expected}");
    }
    for target in ["/data", "/nothing", "/nothing.html", "/about.html/", "/.html", "/abou"] {
        assert_eq!(status(&get(&server, target).0), "404", "{target}");
    }
    assert_eq!(status(&ask(&server, "HEAD /about.html", "").0), "301");
    assert_eq!(status(&ask(&server, "POST /about.html", "Content-Length: 0\r\n").0), "405");
    assert_eq!(status(&ask(&server, "OPTIONS /about.html", "").0), "204");
}

#[test]
fn without_it_every_file_is_at_its_name() {
    let site = Site::new().with("index.html", "home").with("about.html", "about");
    let server = site.serve(&[]);
    assert_eq!(get(&server, "/about.html").1, b"about");
    assert_eq!(get(&server, "/index.html").1, b"home");
    assert_eq!(status(&get(&server, "/about").0), "404");
}

#[test]
fn it_goes_with_a_page_for_everything_and_with_listings() {
    let site = Site::new().with("app.html", "app").with("about.html", "about").with("folder/x.txt", "x");
    let spa = site.serve(&["--try-html", "--spa=app.html"]);
    assert_eq!(get(&spa, "/about").1, b"about");
    assert_eq!(get(&spa, "/some/route").1, b"app");
    let browse = site.serve(&["--try-html", "--browse"]);
    assert!(get(&browse, "/folder/").0.starts_with("HTTP/1.1 200"));
    assert_eq!(location(&browse, "/folder"), "folder/");
}

#[test]
fn a_page_has_the_fields_of_its_file_and_of_its_address() {
    let site = Site::new().with("about.html", "about").with("index.html", "home");
    let rules = ["--header", "*.html X-File: 1", "--header", "/about X-Address: 1", "--header", "/ X-Root: 1"];
    let fields = |server: &Server, target: &str| {
        let (head, _) = get(server, target);
        ["X-File", "X-Address", "X-Root"].map(|name| field(&head, name).is_some())
    };
    let server = site.serve(&[&rules[..], &["--try-html"]].concat());
    assert_eq!(fields(&server, "/about"), [true, true, false]);
    assert_eq!(fields(&server, "/"), [true, false, true]);
    assert_eq!(fields(&site.serve(&rules), "/about.html"), [true, false, false]);
}

#[test]
fn of_several_index_files_the_one_that_is_served_has_the_address_of_its_folder() {
    let site = Site::new()
        .with("both/start.html", "start")
        .with("both/index.html", "index")
        .with("second/index.html", "index")
        .with("plain/entry", "entry")
        .with("plain/index.html", "index")
        .with("folder/start.html/x", "x")
        .with("folder/index.html", "index");
    let server = site.serve(&["--try-html", "--index", "start.html,entry,index.html"]);
    for (target, content) in [
        ("/both/", "start"),
        ("/both/index", "index"),
        ("/second/", "index"),
        ("/plain/", "entry"),
        ("/plain/index", "index"),
        ("/folder/", "index"),
    ] {
        assert_eq!(get(&server, target).1, content.as_bytes(), "{target}");
    }
    for (target, expected) in [
        ("/both/start.html", "./"),
        ("/both/start", "./"),
        ("/both/index.html", "index"),
        ("/second/index.html", "./"),
        ("/second/index", "./"),
        ("/plain/entry", "./"),
        ("/plain/index.html", "index"),
        ("/folder/index.html", "./"),
    ] {
        assert_eq!(location(&server, target), expected, "{target}");
    }
}

#[test]
fn what_is_hidden_stays_hidden() {
    let site = Site::new().with(".secret.html", "x").with(".well-known/a.html", "a").with(".well-known.html", "x");
    let server = site.serve(&["--try-html"]);
    assert_eq!(get(&server, "/.well-known/a").1, b"a");
    for target in ["/.secret", "/.secret.html", "/.well-known.html"] {
        assert_eq!(status(&get(&server, target).0), "404", "{target}");
    }
    assert_eq!(location(&server, "/.well-known"), ".well-known/", "the folder and not the page");
    fs::write(site.root.join("...html"), "dots").unwrap();
    let server = site.serve(&["--try-html", "--hidden"]);
    assert_eq!(get(&server, "/.secret").1, b"x");
    assert_eq!(get(&server, "/...html").1, b"dots", "no other address: `..` is none");
}

/// All sets of these files, each in a folder of its own: whatever is asked for, one redirect leads to an answer, and what
/// has a name is the content of one of the files that the name may mean.
#[test]
fn no_redirect_leads_to_another_one() {
    const FILES: [&str; 8] =
        ["p", "p.html", "p.html.html", "p.html.gz", "p/index.html", "index.html", "index", "index/index.html"];
    const NAMES: [&str; 9] = ["", "p", "p/", "p.html", "p.html.html", "p/index.html", "p/index", "index", "index.html"];
    let coded = |content: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, content.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let conflicts = |set: u32| [(0, 4), (6, 7)].iter().any(|(one, other)| set >> one & set >> other & 1 == 1);
    let sets: Vec<u32> = (0..1 << FILES.len()).filter(|set| !conflicts(*set)).collect();
    let mut site = Site::new();
    for set in &sets {
        site = site.with(format!("{set}/x"), "x");
        for (_, file) in FILES.iter().enumerate().filter(|(number, _)| set >> number & 1 == 1) {
            let content = if file.ends_with(".gz") { coded(&content_of(file)) } else { content_of(file).into_bytes() };
            site = site.with(format!("{set}/{file}"), content);
        }
    }
    let server = site.serve(&["--try-html"]);
    for set in sets {
        for name in NAMES {
            let (mut head, mut content) = get(&server, &format!("/{set}/{name}"));
            if status(&head) == "301" {
                let to = resolved(&format!("/{set}/{name}"), field(&head, "Location").unwrap());
                (head, content) = get(&server, &to);
                assert_eq!(status(&head), "200", "{set:b} {name} → {to}: {head}");
            }
            let is_exact = FILES.iter().enumerate().any(|(number, file)| set >> number & 1 == 1 && *file == name);
            if is_exact {
                assert_eq!(String::from_utf8(content).unwrap(), content_of(name), "{set:b} {name}");
            }
        }
    }
}

fn content_of(file: &str) -> String {
    format!("the content of {file}")
}
