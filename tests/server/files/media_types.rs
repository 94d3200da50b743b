//! Which type a file gets, and what can be said about that on the command line.

use super::*;

fn type_of(server: &Server, path: &str) -> String {
    field(&get(server, path).0, "Content-Type").unwrap_or_default().to_string()
}

#[test]
fn the_types_of_a_system_are_taken_as_they_are() {
    let site = Site::new().with("a.cwl.json", "{}").with("a.json", "{}").with("a.pcf.Z", "x").with("a.own", "x");
    let types = site.base.join("types");
    // Debian's dots, a comment in Latin-1, the line ends of another system, and no end of the last line.
    let lines = b"# caf\xe9\r\napplication/1d-interleaved-parityfec\r\napplication/cwl+json\t\tcwl.json\r\n\
                  application/x-font-pcf\t\tpcf pcf.Z\r\ntext/plain; charset=iso-8859-1 own";
    fs::write(&types, lines).unwrap();
    let server = site.serve(&["--mime-types", types.to_str().unwrap()]);
    assert_eq!(type_of(&server, "/a.cwl.json"), "application/cwl+json");
    assert_eq!(type_of(&server, "/a.json"), "application/json");
    assert_eq!(type_of(&server, "/a.pcf.Z"), "application/x-font-pcf");
    assert_eq!(type_of(&server, "/a.own"), "text/plain; charset=iso-8859-1");
}

#[test]
fn the_types_of_this_system_are_taken() {
    if !Path::new("/etc/mime.types").exists() {
        return eprintln!("skipped: there is no /etc/mime.types");
    }
    let site = Site::new().with("a.html", "x");
    assert_eq!(type_of(&site.serve(&["--mime-types", "/etc/mime.types"]), "/a.html"), "text/html; charset=utf-8");
}

#[test]
fn a_whole_name_tells_the_type() {
    let names = ["apple-app-site-association", ".well-known/apple-app-site-association", ".well-known/matrix/client"];
    let site =
        names.iter().fold(Site::new(), |site, name| site.with(name, "{}")).with("client", "x").with("NOTES", "x");
    let server = site.serve(&[]);
    for name in names {
        assert_eq!(type_of(&server, &format!("/{name}")), "application/json", "{name}");
    }
    assert_eq!(type_of(&server, "/client"), "application/octet-stream");
    let types = site.base.join("types");
    fs::write(&types, "text/x-notes /NOTES\n").unwrap();
    let server = site.serve(&["--mime-types", types.to_str().unwrap()]);
    assert_eq!(type_of(&server, "/NOTES"), "text/x-notes; charset=utf-8");
}

#[test]
fn the_default_type_is_for_unknown_names() {
    let site = Site::new().with("a", "x").with("a.nosuch", "x").with("a.png", "x").with("a.gz", "x");
    let server = site.serve(&["--default-type", "text/plain"]);
    assert_eq!(type_of(&server, "/a"), "text/plain; charset=utf-8");
    assert_eq!(type_of(&server, "/a.nosuch"), "text/plain; charset=utf-8");
    assert_eq!(type_of(&server, "/a.png"), "image/png");
    assert_eq!(type_of(&server, "/a.gz"), "application/gzip");
}
