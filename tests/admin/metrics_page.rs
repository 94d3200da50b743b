//! docs/metrics.md is held to the server: each family that it has is on the page, and the other way round.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use crate::ask;
use crate::http2_client::Http2;
use crate::server;
use crate::support::{Server, status};
use crate::upstreams::Upstream;

/// What the page says of the three labels of an address.
const ADDRESS: [&str; 3] = ["group", "upstream", "address"];

/// A family of metrics: its type, and the labels of its samples.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Family {
    kind: String,
    labels: Vec<String>,
}

/// The families of the page by name, and the names of those that not every server has: their section says when they are there.
fn of_page() -> (BTreeMap<String, Family>, Vec<String>) {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
    let (mut families, mut conditional, mut is_section_conditional) = (BTreeMap::new(), Vec::new(), false);
    for line in page.lines() {
        if line.starts_with("## ") {
            is_section_conditional = false;
        }
        is_section_conditional |= line.starts_with("Only with ") || line.starts_with("Linux only");
        let Some(row) = line.strip_prefix("| `tidemill_") else { continue };
        let cells: Vec<&str> = row.split(" | ").collect();
        let name = format!("tidemill_{}", cells[0].trim_end_matches('`'));
        let labels = cells[2].split(", ").map(|label| label.trim_matches('`')).filter(|label| *label != "–");
        let labels = labels.flat_map(|label| if label == "address" { ADDRESS.to_vec() } else { vec![label] });
        let family = Family { kind: cells[1].to_owned(), labels: labels.map(str::to_owned).collect() };
        let is_always_there = cells[4].contains("without `--proxy`, too");
        if is_section_conditional && !is_always_there {
            conditional.push(name.clone());
        }
        assert_eq!(families.insert(name, family), None, "{line}");
    }
    (families, conditional)
}

/// The families that a server tells by name. The labels are those of the last sample, and none if there is no sample.
fn of_server(server: &Server) -> BTreeMap<String, Family> {
    let (_, text) = ask(server, "/metrics");
    let (mut families, mut name) = (BTreeMap::new(), String::new());
    for line in text.lines() {
        if let Some(introduced) = line.strip_prefix("# TYPE ") {
            let (own, kind) = introduced.split_once(' ').unwrap();
            name = own.to_owned();
            families.insert(name.clone(), Family { kind: kind.to_owned(), labels: Vec::new() });
        } else if let Some((_, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let labels = labels.split("\",").filter_map(|label| label.split_once("=\"")).map(|(name, _)| name);
            let labels = labels.filter(|label| *label != "le").map(str::to_owned);
            families.get_mut(&name).unwrap().labels = labels.collect();
        }
    }
    families
}

/// A server with everything that has metrics of its own, in front of an upstream that has answered.
fn full_server(folder: &std::path::Path) -> Server {
    let (upstream, refusing) = (Upstream::new(), Upstream::new());
    let (route, gone) = (format!("/=http://{}", upstream.address()), format!("/gone/=http://{}", refusing.address()));
    drop(refusing);
    let own = format!("--tls-self-signed={}", folder.display());
    let config = folder.join("tidemill.toml");
    fs::write(&config, "").unwrap();
    let config = config.to_str().unwrap();
    let server =
        server(&["--config", config, "--listen", "https:127.0.0.1:0", &own, "--proxy", &route, "--proxy", &gone]);
    let mut client = server.connect();
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut stream, _) = upstream.accept();
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    assert_eq!(status(&client.read_head()), "204");
    assert_eq!(status(&server.ask("GET /gone/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")), "502");
    let mut h2 = Http2::new(server.connect(), 65_535);
    h2.get(1, "/gone/", "");
    h2.read_end_of(1);
    server
}

#[test]
fn every_family_is_on_the_page_with_its_type_and_labels() {
    let folder = std::env::temp_dir().join(format!("tidemill-metrics-page-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (page, _) = of_page();
    let told = of_server(&full_server(&folder));
    fs::remove_dir_all(&folder).unwrap();
    let names = |families: &BTreeMap<String, Family>| families.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&told), names(&page), "the server, and the page");
    for (name, family) in &told {
        assert_eq!(family.kind, page[name].kind, "{name}");
        // What nobody has run into has no sample.
        assert!(family.labels.is_empty() || family.labels == page[name].labels, "{name}: {family:?}, {:?}", page[name]);
    }
    let labelled = told.values().filter(|family| !family.labels.is_empty()).count();
    assert!(labelled > 30, "only {labelled} have samples with labels");
}

#[test]
fn what_not_every_server_has_is_marked_on_the_page() {
    let (page, conditional) = of_page();
    let told = of_server(&server(&[]));
    for name in page.keys() {
        let is_marked = conditional.contains(name);
        assert!(told.contains_key(name) || is_marked, "{name} is missing, and the page does not say when it is there");
        let is_of_kernel = name.contains("_accept_queue_") || name.starts_with("tidemill_listen_");
        assert!(is_of_kernel || !told.contains_key(name) || !is_marked, "{name} is there all the same");
    }
}

#[test]
fn waits_that_end_connections_are_those_of_the_page() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
    let (_, values) = page.split_once("Values of `wait`: ").unwrap();
    let values = values.split_once("\n\n").unwrap().0;
    let named: Vec<&str> = values.split('`').skip(1).step_by(2).collect();
    let (_, text) = ask(&server(&[]), "/metrics");
    for family in ["tidemill_timeouts_total", "tidemill_connections"] {
        let begin = format!("{family}{{wait=\"");
        let waits = text.lines().filter_map(|line| line.strip_prefix(begin.as_str()));
        let waits: Vec<&str> = waits.filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(waits, named, "{family}");
    }
}
