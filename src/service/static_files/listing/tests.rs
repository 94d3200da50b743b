use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::base::ring::RingBuffer;
use crate::http::body::Pull;
use crate::http::exchange::Source;
use crate::http::target::{TargetForm, percent_decode};
use crate::service::lab::harness::World;

const BY_NAME: Order = Order { key: SortKey::Name, descending: false };

fn file(name: &[u8], len: u64, modified_secs: Option<u64>) -> Entry {
    Entry { name: name.to_vec(), is_directory: false, len, modified_secs }
}

fn folder(name: &[u8]) -> Entry {
    Entry { name: name.to_vec(), is_directory: true, len: 4096, modified_secs: None }
}

fn listing(entries: impl IntoIterator<Item = Entry>, order: Order) -> Arc<Listing> {
    Arc::new(Listing::build(entries.into_iter().map(Ok), order, usize::MAX).expect("no entry failed"))
}

fn names(listing: &Listing) -> Vec<&[u8]> {
    (0..listing.len()).map(|index| listing.member(index).name).collect()
}

/// All content, pulled through rooms of these sizes.
fn content(listing: &Arc<Listing>, form: Form, path: &str, rooms: impl IntoIterator<Item = usize>) -> String {
    let (world, mut source) = (World::new(), ListingSource::new(Arc::clone(listing), form, path));
    let mut content = Vec::new();
    for size in rooms {
        let mut ring = RingBuffer::new(size);
        let mut room = ring.room(0, usize::MAX);
        let pulled = source.pull(&mut room, &mut world.cx()).expect("a listing cannot fail");
        let (written, is_full) = (room.written(), room.is_full());
        ring.seal(0, b"", written);
        ring.readable().iter().for_each(|part| content.extend_from_slice(part));
        assert!(content.len() < 1 << 20, "no listing here is that long: it does not end");
        match pulled {
            Pull::End => break,
            Pull::More => assert!(is_full, "more is there, but the room was not filled"),
            Pull::Pending(_) => panic!("a listing never waits"),
        }
    }
    String::from_utf8(content).expect("pages are UTF-8")
}

fn page(listing: &Arc<Listing>, path: &str) -> String {
    content(listing, Form::Html, path, iter::repeat(65536))
}

fn json(listing: &Arc<Listing>, path: &str) -> serde_json::Value {
    serde_json::from_str(&content(listing, Form::Json, path, iter::repeat(65536))).expect("this is JSON")
}

/// A page taken apart as simply as can be: tags, and the text between them.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Tag(&'a str),
    Text(&'a str),
}

fn parts(mut html: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    while !html.is_empty() {
        let (part, rest) = match html.strip_prefix('<') {
            Some(tag) => tag.split_once('>').map(|(tag, rest)| (Part::Tag(tag), rest)).expect("every tag ends"),
            None => html.find('<').map(|at| (Part::Text(&html[..at]), &html[at..])).unwrap_or((Part::Text(html), "")),
        };
        parts.push(part);
        html = rest;
    }
    parts
}

/// The references and texts of the members' links.
fn links(page: &str) -> Vec<(String, String)> {
    let body = page.split_once("<tbody>").expect("there is a table").1;
    let mut links: Vec<(String, String)> = Vec::new();
    let mut in_link = false;
    for part in parts(body) {
        match part {
            Part::Tag(tag) if tag.starts_with("a ") => {
                let href = tag.split_once("href=\"").and_then(|(_, rest)| rest.strip_suffix('"'));
                links.push((href.expect("href comes last").to_string(), String::new()));
                in_link = true;
            }
            Part::Tag("/a") => in_link = false,
            Part::Text(text) if in_link => links.last_mut().expect("in a link").1.push_str(text),
            Part::Tag(_) | Part::Text(_) => {}
        }
    }
    links
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    text.replace("&amp;", "&")
}

/// What a name looks like on the page, by the rule.
fn shown(name: &[u8]) -> String {
    let mark = |c: char| match u32::from(c) {
        0x7f => "␡".to_string(),
        code @ 0..0x20 => char::from_u32(0x2400 + code).unwrap().to_string(),
        code @ (0x80..0xa0 | 0x2028..=0x202e | 0x2066..=0x2069) => format!("[U+{code:04X}]"),
        _ => c.to_string(),
    };
    String::from_utf8_lossy(name).chars().map(mark).collect()
}

/// Where a link on the page leads, as a path below the folder.
fn destination(href: &str) -> Vec<u8> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%/".contains(&byte);
    assert!(href.bytes().all(allowed), "{href}");
    percent_decode(href.strip_prefix("./").expect("references are relative").as_bytes()).unwrap().into_owned()
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(any::<u8>(), 1..40);
    let text = ".{1,12}".prop_map(String::into_bytes);
    let markup = prop::sample::select(vec!["<script>", "</a>", "\"onload=", "&lt;", "&#x3c;", "javascript:", "-->"]);
    let nasty = ("[ -~]{0,4}", markup, "[ -~]{0,4}").prop_map(|(a, b, c)| format!("{a}{b}{c}").into_bytes());
    let names = prop_oneof![bytes, text, nasty];
    names
        .prop_map(|name| name.into_iter().filter(|byte| !b"/\0".contains(byte)).collect::<Vec<u8>>())
        .prop_filter("a name is not empty and not a dot segment", |name| !matches!(&name[..], b"" | b"." | b".."))
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let entry = (any_name(), any::<bool>(), any::<u64>(), any::<Option<u64>>());
    entry.prop_map(|(name, is_directory, len, modified_secs)| Entry { name, is_directory, len, modified_secs })
}

fn any_order() -> impl Strategy<Value = Order> {
    (prop::sample::select(&SortKey::ALL[..]), any::<bool>()).prop_map(|(key, descending)| Order { key, descending })
}

proptest! {
    #[test]
    fn no_name_breaks_out_of_its_place(entries in prop::collection::vec(any_entry(), 0..8), path in any_name()) {
        let listing = listing(entries, BY_NAME);
        let path = String::from_utf8_lossy(&path);
        let page = page(&listing, &path);
        let expected: Vec<(Vec<u8>, String)> = (0..listing.len()).map(|index| {
            let Member { name, is_directory, .. } = listing.member(index);
            let slash = if is_directory { "/" } else { "" };
            ([name, slash.as_bytes()].concat(), format!("{}{slash}", shown(name)))
        }).collect();
        let found = links(&page).into_iter().filter(|(href, _)| href != "../");
        let found: Vec<_> = found.map(|(href, text)| (destination(&href), unescaped(&text))).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(skeleton(&page), skeleton_of(&listing, &path));
    }

    #[test]
    fn json_tells_every_member(entries in prop::collection::vec(any_entry(), 0..8), path in any_name()) {
        let listing = listing(entries, BY_NAME);
        let path = String::from_utf8_lossy(&path);
        let json = json(&listing, &path);
        prop_assert_eq!(&json["path"], &*path);
        let entries = json["entries"].as_array().unwrap();
        prop_assert_eq!(entries.len(), listing.len());
        for (index, entry) in entries.iter().enumerate() {
            let Member { name, is_directory, len, .. } = listing.member(index);
            prop_assert_eq!(&entry["name"], &*String::from_utf8_lossy(name));
            let slash: &[u8] = if is_directory { b"/" } else { b"" };
            prop_assert_eq!(destination(entry["href"].as_str().unwrap()), [name, slash].concat());
            prop_assert_eq!(&entry["type"], if is_directory { "directory" } else { "file" });
            prop_assert_eq!(entry["size"].as_u64(), (!is_directory).then_some(len));
        }
    }

    #[test]
    fn the_content_does_not_depend_on_the_rooms(
        entries in prop::collection::vec(any_entry(), 0..5),
        rooms in prop::collection::vec(1..300usize, 1..20),
        form in prop::sample::select(vec![Form::Html, Form::Json]),
    ) {
        let listing = listing(entries, BY_NAME);
        let whole = content(&listing, form, "/a/b/", iter::repeat(65536));
        prop_assert_eq!(content(&listing, form, "/a/b/", rooms.into_iter().cycle()), whole);
    }

    #[test]
    fn members_are_in_the_order_that_a_naive_sort_gives(
        entries in prop::collection::vec(("[aAbB]{1,3}", any::<bool>(), 0..3u64, prop::option::of(0..3u64)), 0..30),
        order in any_order(),
    ) {
        let unique: BTreeSet<_> = entries.iter().map(|(name, ..)| name).collect();
        let entries: Vec<Entry> = unique.into_iter().map(|name| {
            let (_, is_directory, len, modified_secs) = entries.iter().find(|entry| entry.0 == *name).unwrap().clone();
            Entry { name: name.clone().into_bytes(), is_directory, len, modified_secs }
        }).collect();
        let listing = listing(entries.clone(), order);
        prop_assert_eq!(names(&listing), naively_sorted(&entries, order));
    }
}

/// Stable sorts one after another, the least important first.
fn naively_sorted(entries: &[Entry], order: Order) -> Vec<&[u8]> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by_key(|entry| (entry.name.to_ascii_lowercase(), entry.name.clone()));
    let reverse_if = |sorted: &mut Vec<&Entry>, key: fn(&Entry) -> Option<u64>| match order.descending {
        true => sorted.sort_by_key(|entry| std::cmp::Reverse(key(entry))),
        false => sorted.sort_by_key(|entry| key(entry)),
    };
    match order.key {
        SortKey::Name if order.descending => sorted.reverse(),
        SortKey::Name => {}
        SortKey::Size => reverse_if(&mut sorted, |entry| (!entry.is_directory).then_some(entry.len)),
        SortKey::Time => reverse_if(&mut sorted, |entry| entry.modified_secs),
    }
    sorted.sort_by_key(|entry| !entry.is_directory);
    sorted.into_iter().map(|entry| &entry.name[..]).collect()
}

/// The names of all tags, in order.
fn skeleton(page: &str) -> Vec<String> {
    let tags = parts(page).into_iter().filter_map(|part| match part {
        Part::Tag(tag) => Some(tag.split(' ').next().unwrap_or_default().to_string()),
        Part::Text(text) => {
            assert!(!text.contains('"') || text.contains("--mono"), "a quote in {text}");
            None
        }
    });
    tags.collect()
}

/// The tags of a page with members of the same kinds, but names that are only letters.
fn skeleton_of(original: &Listing, path: &str) -> Vec<String> {
    let entries = (0..original.len()).map(|index| {
        let Member { is_directory, len, modified_secs, .. } = original.member(index);
        Entry { name: format!("n{index:09}").into_bytes(), is_directory, len, modified_secs }
    });
    let crumbs = path.split('/').filter(|segment| !segment.is_empty()).count();
    skeleton(&page(&listing(entries, BY_NAME), &"x/".repeat(crumbs)))
}

#[test]
fn folders_come_first_and_case_matters_last() {
    let listing = listing([&b"b"[..], b"B", b"a", b"_", b"A", b"\xff"].map(|name| file(name, 1, None)), BY_NAME);
    assert_eq!(names(&listing), [&b"_"[..], b"A", b"a", b"B", b"b", b"\xff"]);
    let entries = || [file(b"a", 5, Some(1)), folder(b"z"), file(b"c", 9, Some(3)), folder(b"y"), file(b"b", 5, None)];
    let sorted = |key, descending| {
        let listing = self::listing(entries(), Order { key, descending });
        String::from_utf8(names(&listing).concat()).unwrap()
    };
    assert_eq!([sorted(SortKey::Name, false), sorted(SortKey::Name, true)], ["yzabc", "zycba"]);
    assert_eq!([sorted(SortKey::Size, false), sorted(SortKey::Size, true)], ["yzabc", "yzcab"]);
    assert_eq!([sorted(SortKey::Time, false), sorted(SortKey::Time, true)], ["yzbac", "yzcab"]);
}

#[test]
fn the_query_asks_for_an_order() {
    let asked = |query: &str| {
        let (raw, query) = (b"".as_slice(), Some(query.as_bytes()));
        Order::asked(&Target { form: TargetForm::Origin, raw, authority: None, path: b"/", query })
    };
    let order = |key, descending| Order { key, descending };
    assert_eq!(asked(""), order(SortKey::Name, false));
    assert_eq!(asked("sort=time"), order(SortKey::Time, true));
    assert_eq!(asked("sort=size&order=asc"), order(SortKey::Size, false));
    assert_eq!(asked("order=desc&x=1"), order(SortKey::Name, true));
    assert_eq!(asked("sort=colour&order=up"), order(SortKey::Name, false));
}

#[test]
fn the_columns_link_to_their_orders() {
    let page = page(&listing([folder(b"a")], SortKey::Size.first_order()), "/");
    assert!(page.contains(r#"<th scope="col"><a href="?sort=name&amp;order=asc">Name</a></th>"#), "{page}");
    let size = r#"<th scope="col" aria-sort="descending"><a href="?sort=size&amp;order=asc">Size</a></th>"#;
    assert!(page.contains(size), "{page}");
    assert!(page.contains(r#"<th scope="col"><a href="?sort=time&amp;order=desc">Modified</a></th>"#), "{page}");
}

#[test]
fn the_path_leads_back_up() {
    let page = page(&listing([], BY_NAME), "/a b/<c>/");
    let nav = page.split_once("<ol>\n").and_then(|(_, rest)| rest.split_once("</ol>")).expect("there is a path").0;
    let crumbs = [
        r#"<li><a href="./../../"><bdi></bdi>/</a></li>"#,
        r#"<li><a href="./../"><bdi>a b</bdi>/</a></li>"#,
        r#"<li><a href="./" aria-current="page"><bdi>&lt;c&gt;</bdi>/</a></li>"#,
    ];
    assert_eq!(nav.lines().collect::<Vec<_>>(), crumbs);
    assert!(page.contains("<title>&lt;c&gt;/</title>"));
    assert!(page.contains("<h1><bdi>&lt;c&gt;/</bdi></h1>"));
    assert_eq!(links(&page), [("../".to_string(), "../".to_string())]);
}

#[test]
fn the_root_has_no_parent_and_an_empty_folder_says_so() {
    let page = page(&listing([], BY_NAME), "/");
    assert_eq!(links(&page), []);
    assert!(page.contains("<title>Index of /</title>") && page.contains("This folder is empty."));
    let full = self::page(&listing([folder(b"a")], BY_NAME), "/");
    assert!(!full.contains("This folder is empty."));
    let none_fits = Arc::new(Listing::build([Ok(folder(b"a"))], BY_NAME, 0).expect("no entry failed"));
    assert!(!self::page(&none_fits, "/").contains("This folder is empty."));
}

#[test]
fn a_row_says_how_large_and_how_old() {
    let listing = listing([file(b"a.txt", 1_234_567, Some(784_111_777)), file(b"b", 1, Some(u64::MAX - 1))], BY_NAME);
    let page = page(&listing, "/");
    let (size, time) =
        (r#"title="1,234,567 bytes">1.2 MiB"#, r#"<time datetime="1994-11-06T08:49:37Z">1994-11-06 08:49"#);
    assert!(page.contains(&format!("<td {size}</td><td>{time}</time></td></tr>")), "{page}");
    assert!(page.contains(r#"<td title="1 byte">1 B</td><td></td></tr>"#), "{page}");
    assert!(page.contains(">2 files</p>"));
    let json = json(&listing, "/");
    assert_eq!(json["entries"][0]["modified"], "1994-11-06T08:49:37Z");
    assert_eq!(json["entries"][1]["modified"], serde_json::Value::Null);
    assert_eq!(json["left_out"], 0);
}

#[test]
fn what_does_not_fit_is_counted_and_said() {
    let entries = || (0..1500).map(|index| Ok(file(format!("{index:06}").as_bytes(), 1, None)));
    let listing = Arc::new(Listing::build(entries(), BY_NAME, 30 * 100).expect("no entry failed"));
    assert_eq!((listing.len(), listing.left_out()), (100, 1400));
    assert!(listing.bytes() <= 30 * 100 + size_of::<Listing>());
    assert!(page(&listing, "/").contains("1,400 more of its entries are not on this page"));
    assert_eq!(json(&listing, "/")["left_out"], 1400);
    assert!(!page(&self::listing([], BY_NAME), "/").contains("not on this page"));
}

#[test]
fn half_a_folder_is_no_listing() {
    let entries = [Ok(folder(b"a")), Err(io::Error::other("the disk is gone"))];
    assert!(Listing::build(entries, BY_NAME, usize::MAX).is_err());
}

#[test]
fn the_folder_and_its_parent_are_not_its_members() {
    let listing = listing([folder(b"."), folder(b".."), folder(b"...")], BY_NAME);
    assert_eq!((names(&listing), listing.left_out()), (vec![&b"..."[..]], 0));
    // A name this long does not exist, and would not fit.
    let long = Listing::build([Ok(folder(&[b'a'; 70_000]))], BY_NAME, usize::MAX).expect("no entry failed");
    assert_eq!((long.len(), long.left_out()), (0, 1));
}

#[test]
fn two_hundred_thousand_members_cost_ten_megabytes_and_no_pull_is_long() {
    const COUNT: usize = 200_000;
    const ROOM: usize = 16 * 1024;
    let name = |index: usize| format!("{:016x}-IMG.jpeg", index.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes();
    let listing = listing((0..COUNT).map(|index| file(&name(index), 1 << 20, Some(1_700_000_000))), BY_NAME);
    assert!(listing.bytes() < 10_000_000, "{} bytes", listing.bytes());
    let (world, mut source) = (World::new(), ListingSource::new(Arc::clone(&listing), Form::Html, "/"));
    let mut ring = RingBuffer::new(ROOM);
    // No row is shorter than this, so no pull writes more rows than fit, and one.
    let row_bytes_min = "<tr><td><a href=\"./\"><bdi></bdi></a></td><td></td><td></td></tr>\n".len() + 2 * 25;
    loop {
        let before = source.rows_written();
        let mut room = ring.room(0, usize::MAX);
        let pulled = source.pull(&mut room, &mut world.cx()).expect("a listing cannot fail");
        assert!(source.rows_written() - before <= ROOM / row_bytes_min + 1);
        ring.clear();
        if pulled == Pull::End {
            break;
        }
    }
    assert_eq!(source.rows_written(), COUNT);
    assert!(source.bytes() < 16 * 1024, "{} bytes", source.bytes());
}
