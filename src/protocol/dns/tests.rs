use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn query(text: &str, address_type: AddressType) -> Query {
    Query { id: 0x1234, name: name(text), address_type, has_edns: true }
}

/// Bytes, written as `12 34 'a.b' 00`: hexadecimal digits, and labels each behind its length.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        match word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')) {
            Some(labels) => labels.split('.').for_each(|label| {
                out.push(label.len() as u8);
                out.extend(label.bytes());
            }),
            None => out.push(u8::from_str_radix(word, 16).unwrap()),
        }
    }
    out
}

/// A response to `query("a.example", A)` with these flags, counts of records, and records.
fn response(flags: &str, counts: &str, records: &str) -> Vec<u8> {
    bytes(&format!("12 34 {flags} 00 01 {counts} 'a.example' 00 00 01 00 01 {records}"))
}

/// The same, read.
fn answer(flags: &str, counts: &str, records: &str) -> Result<Answer, Unfit> {
    query("a.example", AddressType::A).read(&response(flags, counts, records))
}

/// A record of type A for the name of the question.
const A_RECORD: &str = "C0 0C 00 01 00 01 00 00 0E 10 00 04 0A 00 00 01";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_query_is_the_bytes_of_the_standards() {
    let expected = "12 34 01 00 00 01 00 00 00 00 00 01 'a.example' 00 00 1C 00 01 00 00 29 04 D0 00 00 00 00 00 00";
    assert_eq!(query("A.Example.", AddressType::Aaaa).encode(), bytes(expected));
    let plain = Query { has_edns: false, ..query("a.example", AddressType::A) };
    assert_eq!(plain.encode(), bytes("12 34 01 00 00 01 00 00 00 00 00 00 'a.example' 00 00 01 00 01"));
}

#[test]
fn names_are_those_of_hosts() {
    let (label, long) = ("a".repeat(63), "a".repeat(64));
    assert_eq!(name("A-1._b.Example.").to_string(), "a-1._b.example");
    assert_eq!(name(&label).wire().len(), 65);
    let longest = [label.as_str(), &label, &label, &label[..61]].join(".");
    assert_eq!((longest.len(), name(&longest).wire().len()), (253, NAME_BYTES_MAX));
    for (text, error) in [
        ("", NameError::EmptyLabel),
        (".", NameError::EmptyLabel),
        ("a..b", NameError::EmptyLabel),
        (".a", NameError::EmptyLabel),
        ("a..", NameError::EmptyLabel),
        (long.as_str(), NameError::LongLabel),
        (&format!("{longest}a"), NameError::LongName),
        ("a b", NameError::Byte(b' ')),
        ("a\0", NameError::Byte(0)),
        ("ü.example", NameError::Byte(0xC3)),
    ] {
        assert_eq!(Name::parse(text), Err(error), "{text}");
    }
}

/// The example of RFC 1035 §4.1.4: F.ISI.ARPA at 20, FOO.F.ISI.ARPA at 40, ARPA at 64, the root at 92.
#[test]
fn compression_is_that_of_the_standard() {
    let mut message = vec![0xEE; 93];
    for (at, text) in [(20, "'F.ISI.ARPA' 00"), (40, "'FOO' C0 14"), (64, "C0 1A"), (92, "00")] {
        let bytes = bytes(text);
        message[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    for (at, text, end) in [(20, "f.isi.arpa", 32), (40, "foo.f.isi.arpa", 46), (64, "arpa", 66), (92, ".", 93)] {
        let (name, ended) = Name::read(&message, at).unwrap();
        assert_eq!((name.to_string().as_str(), ended), (text, end));
    }
}

#[test]
fn pointers_that_lead_nowhere_are_refused() {
    let pointer = Err(Malformed("a pointer in a name does not point to a name before it"));
    let kind = Err(Malformed("a label is of an unknown kind"));
    for (message, at, expected) in [
        ("C0 00", 0, pointer.clone()),
        ("C0 02 C0 00", 2, pointer.clone()),
        ("C0 02 C0 00", 0, pointer.clone()),
        ("'a' C0 00", 0, pointer.clone()),
        ("'a' C0 04 00", 0, pointer.clone()),
        ("C0 FF", 0, pointer.clone()),
        ("00 C0", 1, Err(Malformed::CUT)),
        ("03 61 62", 0, Err(Malformed::CUT)),
        ("'abc'", 0, Err(Malformed::CUT)),
        ("", 0, Err(Malformed::CUT)),
        ("00", 7, Err(Malformed::CUT)),
        ("40", 0, kind.clone()),
        ("80", 0, kind),
    ] {
        assert_eq!(Name::read(&bytes(message), at), expected, "{message}");
    }
    // Each points to the one before it, which is allowed, but no name needs as many.
    let mut chain = vec![0, 0];
    for at in 0..300_u16 {
        chain.extend((0xC000 | (2 * at)).to_be_bytes());
    }
    assert_eq!(Name::read(&chain, 2 + 2 * 126).map(|(name, _)| name.to_string()), Ok(".".into()));
    assert_eq!(Name::read(&chain, chain.len() - 2).map(drop), pointer.map(drop));
    let label = bytes(&format!("'{}'", "a".repeat(63)));
    let long = [label.repeat(4), vec![0]].concat();
    assert_eq!(Name::read(&long, 0), Err(Malformed("a name is too long")));
}

#[test]
fn what_no_host_is_called_is_escaped() {
    let (name, _) = Name::read(b"\x06a.\\\xFF \n\x01b\0", 0).unwrap();
    assert_eq!(name.to_string(), "a\\.\\\\\\255\\032\\010.b");
}

#[test]
fn addresses_come_with_the_shortest_time() {
    let two = "C0 0C 00 01 00 01 00 00 00 3C 00 04 0A 00 00 02";
    let found = answer("81 80", "00 03 00 00 00 00", &format!("{A_RECORD} {two} {A_RECORD}"));
    assert_eq!(found, Ok(Answer::Addresses(vec![ip("10.0.0.1"), ip("10.0.0.2")], 60)));
    let six = "C0 0C 00 1C 00 01 80 00 00 00 00 10 20 01 0D B8 00 00 00 00 00 00 00 00 00 00 00 01";
    let message = bytes(&format!("12 34 81 80 00 01 00 01 00 00 00 00 'a.example' 00 00 1C 00 01 {six}"));
    let found = query("a.example", AddressType::Aaaa).read(&message);
    assert_eq!(found, Ok(Answer::Addresses(vec![ip("2001:db8::1")], 0)), "a time with its first bit set is 0");
}

#[test]
fn aliases_are_followed_in_any_order() {
    // a.example is an alias of b.c (10 s), which is one of D.c (5 s); the latter has an address (7 s).
    let first = "C0 0C 00 05 00 01 00 00 00 0A 00 05 'b.c' 00";
    let second = "'b.c' 00 00 05 00 01 00 00 00 05 00 05 'd.c' 00";
    let address = "'D.C' 00 00 01 00 01 00 00 00 07 00 04 0A 00 00 09";
    let stranger = "'x.c' 00 00 01 00 01 00 00 00 01 00 04 0A 00 00 08";
    let expected = Ok(Answer::Addresses(vec![ip("10.0.0.9")], 5));
    for records in [[first, second, address, stranger], [stranger, address, second, first]] {
        assert_eq!(answer("81 80", "00 04 00 00 00 00", &records.join(" ")), expected);
    }
    assert_eq!(answer("81 80", "00 02 00 00 00 00", &[first, second].join(" ")), Ok(Answer::NoAddresses));
    let missing = answer("81 83", "00 02 00 00 00 00", &[first, second].join(" "));
    assert_eq!(missing, Ok(Answer::NoSuchName(name("d.c"))));
}

#[test]
fn aliases_that_lead_nowhere_are_refused() {
    let to = |owner: &str, target: &str| {
        format!("'{owner}' 00 00 05 00 01 00 00 00 0A 00 {:02X} '{target}' 00", target.len() + 2)
    };
    let of = |records: &[String]| answer("81 80", &format!("00 {:02X} 00 00 00 00", records.len()), &records.join(" "));
    let endless = Err(Unfit::Malformed(Malformed("too many aliases in a row, or a loop of them")));
    assert_eq!(of(&[to("a.example", "a.example")]), endless);
    assert_eq!(of(&[to("a.example", "b"), to("b", "a.example")]), endless);
    let double = Err(Unfit::Malformed(Malformed("a name is an alias of two others")));
    assert_eq!(of(&[to("a.example", "b"), to("a.example", "c")]), double);
    let chain = |n: usize| (0..n).map(|at| to(&format!("n{at}"), &format!("n{}", at + 1))).collect::<Vec<_>>();
    let start = [to("a.example", "n0")];
    assert_eq!(of(&[&start[..], &chain(15)].concat()), Ok(Answer::NoAddresses));
    assert_eq!(of(&[&start[..], &chain(16)].concat()), endless);
}

#[test]
fn what_is_not_the_response_is_of_another() {
    let good = response("81 80", "00 01 00 00 00 00", A_RECORD);
    let query = query("a.example", AddressType::A);
    assert!(query.read(&good).is_ok());
    let with = |at: usize, byte: u8| {
        let mut message = good.clone();
        message[at] = byte;
        query.read(&message)
    };
    for (at, byte, what) in [
        (0, 0x13, "another id"),
        (1, 0x35, "another id"),
        (2, 0x01, "a query"),
        (2, 0x89, "another opcode"),
        (5, 0, "no question"),
        (5, 2, "two questions"),
        (13, b'b', "another name"),
        (24, 28, "another type"),
        (26, 3, "another class"),
    ] {
        assert_eq!(with(at, byte), Err(Unfit::OfAnother), "{what}");
    }
    assert!(with(13, b'A').is_ok(), "case means nothing");
    for n in 0..good.len() {
        let unfit = query.read(&good[..n]).unwrap_err();
        assert_eq!(unfit == Unfit::OfAnother, n < HEADER_BYTES + 15, "{n} bytes: {unfit:?}");
    }
    assert_eq!(
        query.read(&[&good[..], b"x"].concat()),
        Err(Malformed("there is something behind its last record").into())
    );
}

#[test]
fn codes_say_what_a_server_cannot_do() {
    let none = "00 00 00 00 00 00";
    assert_eq!(answer("81 80", none, ""), Ok(Answer::NoAddresses));
    assert_eq!(answer("81 83", none, ""), Ok(Answer::NoSuchName(name("a.example"))));
    assert_eq!(answer("81 82", none, ""), Ok(Answer::Refused(ResponseCode::SERVER_FAILURE)));
    assert_eq!(answer("81 85", none, ""), Ok(Answer::Refused(ResponseCode(5))));
    let opt = |code: &str| format!("00 00 29 04 D0 {code} 00 00 00 00 00");
    assert_eq!(answer("81 80", "00 00 00 00 00 01", &opt("00")), Ok(Answer::NoAddresses));
    assert_eq!(answer("81 80", "00 00 00 00 00 01", &opt("01")), Ok(Answer::NoEdns), "BADVERS");
    assert_eq!(answer("81 87", "00 00 00 00 00 01", &opt("01")), Ok(Answer::Refused(ResponseCode(23))));
    assert_eq!(ResponseCode(23).to_string(), "RCODE23");
    assert_eq!(ResponseCode(5).to_string(), "REFUSED");
}

#[test]
fn an_old_server_is_asked_without_edns() {
    let query = query("a.example", AddressType::A);
    for flags in ["81 81", "81 84"] {
        assert_eq!(query.read(&response(flags, "00 00 00 00 00 00", "")), Ok(Answer::NoEdns));
        let bare = bytes(&format!("12 34 {flags} 00 00 00 00 00 00 00 00"));
        assert_eq!(query.read(&bare), Ok(Answer::NoEdns), "some do not repeat the question");
        let plain = Query { has_edns: false, ..query.clone() };
        assert!(matches!(plain.read(&bare), Ok(Answer::Refused(_))));
    }
}

#[test]
fn a_truncated_message_says_nothing_else() {
    assert_eq!(answer("83 80", "00 05 00 00 00 00", A_RECORD), Ok(Answer::Truncated));
    assert_eq!(answer("83 80", "00 05 00 00 00 00", "C0"), Ok(Answer::Truncated));
}

#[test]
fn records_that_are_malformed_are_refused() {
    let malformed = |text| Err(Unfit::Malformed(Malformed(text)));
    for (counts, records, text) in [
        ("00 02 00 00 00 00", A_RECORD, "it ends too early"),
        ("00 00 00 00 00 00", A_RECORD, "there is something behind its last record"),
        ("00 01 00 00 00 00", "C0 0C 00 01 00 01 00 00 00 00 00 05 0A 00 00 01 00", "an address has the wrong length"),
        ("00 01 00 00 00 00", "C0 0C 00 01 00 01 00 00 00 00 00 00", "an address has the wrong length"),
        ("00 01 00 00 00 00", "C0 0C 00 01 00 01 00 00 00 00 00 09 0A 00 00 01", "it ends too early"),
        (
            "00 01 00 00 00 00",
            "C0 0C 00 05 00 01 00 00 00 00 00 03 C0 0C 00",
            "the data of a CNAME record is not one name",
        ),
        (
            "00 01 00 00 00 00",
            "C0 0C 00 05 00 01 00 00 00 00 00 01 C0 0C",
            "the data of a CNAME record is not one name",
        ),
        (
            "00 00 00 00 00 02",
            "00 00 29 04 D0 00 00 00 00 00 00 00 00 29 04 D0 00 00 00 00 00 00",
            "its OPT record is out of place",
        ),
        ("00 00 00 01 00 00", "00 00 29 04 D0 00 00 00 00 00 00", "its OPT record is out of place"),
        ("00 00 00 00 00 01", "C0 0C 00 29 04 D0 00 00 00 00 00 00", "its OPT record is out of place"),
    ] {
        assert_eq!(answer("81 80", counts, records), malformed(text), "{records}");
    }
    let other_class = "C0 0C 00 01 00 03 00 00 00 00 00 02 0A 00";
    assert_eq!(answer("81 80", "00 01 00 00 00 00", other_class), Ok(Answer::NoAddresses));
}

#[test]
fn only_so_many_addresses_are_kept() {
    let records: Vec<String> = (0..300)
        .map(|n| format!("C0 0C 00 01 00 01 00 00 0E 10 00 04 0A 00 {:02X} {:02X}", n / 256, n % 256))
        .collect();
    let Ok(Answer::Addresses(addresses, _)) = answer("81 80", "01 2C 00 00 00 00", &records.join(" ")) else {
        panic!()
    };
    assert_eq!(addresses.len(), ADDRESSES_MAX);
}

/// What a server may say: aliases from the name on, and addresses of the last of them.
#[derive(Debug, Clone)]
struct Zone {
    aliases: Vec<(String, u32)>,
    addresses: Vec<(IpAddr, u32)>,
    /// Records about others, which mean nothing.
    others: usize,
    compresses: bool,
    reversed: bool,
}

impl Zone {
    fn encode(&self, query: &Query) -> Vec<u8> {
        let mut records = Vec::new();
        let mut owner = query.name.clone();
        for (target, ttl) in &self.aliases {
            let target = name(target);
            records.push((owner, 5_u16, *ttl, target.wire().to_vec()));
            owner = target;
        }
        for (address, ttl) in &self.addresses {
            let data = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            records.push((owner.clone(), query.address_type.code(), *ttl, data));
        }
        for number in 0..self.others {
            records.push((name(&format!("other{number}")), 16, 1, b"\x03abc".to_vec()));
        }
        if self.reversed {
            records.reverse();
        }
        let mut out = bytes("12 34 81 80 00 01");
        out.extend((records.len() as u16).to_be_bytes());
        out.extend([0; 4]);
        out.extend(&query.encode()[12..12 + query.name.wire().len() + 4]);
        for (owner, kind, ttl, data) in records {
            match self.compresses && owner == query.name {
                true => out.extend([0xC0, 12]),
                false => out.extend(owner.wire()),
            }
            out.extend([kind.to_be_bytes(), [0, 1]].concat());
            out.extend(ttl.to_be_bytes());
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(data);
        }
        out
    }

    fn answer(&self) -> Answer {
        if self.addresses.is_empty() {
            return Answer::NoAddresses;
        }
        let ttls = self.aliases.iter().map(|(_, ttl)| ttl).chain(self.addresses.iter().map(|(_, ttl)| ttl));
        let ttl = ttls.map(|ttl| if *ttl >= 1 << 31 { 0 } else { *ttl }).min().unwrap();
        let unique: std::collections::BTreeSet<IpAddr> = self.addresses.iter().map(|(address, _)| *address).collect();
        Answer::Addresses(unique.into_iter().collect(), ttl)
    }
}

fn ttl() -> impl Strategy<Value = u32> {
    prop_oneof![0..100_000_u32, any::<u32>()]
}

fn zone(address_type: AddressType) -> impl Strategy<Value = Zone> {
    let address = any::<u8>().prop_map(move |n| match address_type {
        AddressType::A => ip(&format!("10.0.0.{n}")),
        AddressType::Aaaa => ip(&format!("2001:db8::{n}")),
    });
    let aliases = vec(ttl(), 0..ALIASES_MAX).prop_map(|ttls| {
        ttls.into_iter().enumerate().map(|(number, ttl)| (format!("alias{number}.example"), ttl)).collect()
    });
    (aliases, vec((address, ttl()), 0..20), 0..4_usize, any::<[bool; 2]>()).prop_map(
        |(aliases, addresses, others, [compresses, reversed])| Zone {
            aliases,
            addresses,
            others,
            compresses,
            reversed,
        },
    )
}

proptest! {
    #[test]
    fn what_a_server_says_is_what_is_read(a in zone(AddressType::A), aaaa in zone(AddressType::Aaaa)) {
        for (zone, address_type) in [(a, AddressType::A), (aaaa, AddressType::Aaaa)] {
            let query = query("a.example", address_type);
            prop_assert_eq!(query.read(&zone.encode(&query)), Ok(zone.answer()));
        }
    }

    #[test]
    fn no_bytes_do_harm(
        zone in zone(AddressType::A),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let query = query("a.example", AddressType::A);
        let mut message = zone.encode(&query);
        for (at, byte) in changes {
            // The header stays that of the response, or nothing else would be read.
            let at = 4 + at.index(message.len() - 4);
            message[at] = byte;
        }
        message.truncate(cut.index(message.len() + 1).max(12));
        if let Ok(Answer::Addresses(addresses, ttl)) = query.read(&message) {
            prop_assert!(!addresses.is_empty() && addresses.is_sorted() && ttl <= i32::MAX as u32);
        }
    }

    #[test]
    fn names_survive_the_way(labels in vec("[a-zA-Z0-9_-]{1,63}", 1..4)) {
        let text = labels.join(".");
        let name = name(&text);
        prop_assert_eq!(Name::read(name.wire(), 0), Ok((name.clone(), name.wire().len())));
        prop_assert_eq!(name.to_string(), text.to_lowercase());
        prop_assert_eq!(Name::parse(&name.to_string()), Ok(name));
    }
}
