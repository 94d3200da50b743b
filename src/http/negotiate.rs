//! Proactive negotiation (RFC 9110 §12): which content coding a client gets, and which media type it would rather see.

use super::fields::{FieldValue, Fields, list_members, split_unquoted, trim_ows};

/// A content coding that we can send (RFC 9110 §8.4.1). If the client gives two of them the same weight, it gets the
/// greater one, which makes the content smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Coding {
    /// None: the bytes as they are.
    Identity,
    /// `gzip` (RFC 1952)
    Gzip,
    /// `zstd` (RFC 8878)
    Zstd,
    /// `br` (RFC 7932)
    Brotli,
}

impl Coding {
    /// All of them in order: each is at the index that it has as a number.
    pub const ALL: [Coding; 4] = [Coding::Identity, Coding::Gzip, Coding::Zstd, Coding::Brotli];

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Coding::Identity => "identity",
            Coding::Gzip => "gzip",
            Coding::Zstd => "zstd",
            Coding::Brotli => "br",
        }
    }

    /// The coding called `name`, without case; `x-gzip` is another name for gzip (RFC 9110 §8.4.1.3).
    pub fn from_name(name: &[u8]) -> Option<Coding> {
        let name = if name.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { name };
        Coding::ALL.into_iter().find(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes()))
    }

    /// Its `Content-Encoding`; identity has none (RFC 9110 §8.4.1).
    pub fn field_value(self) -> Option<FieldValue> {
        match self {
            Coding::Identity => None,
            coding => Some(FieldValue::from_static(coding.name())),
        }
    }
}

/// Whether a line of `Vary` says that a response depends on Accept-Encoding (RFC 9110 §12.5.5).
pub fn varies_by_coding(vary: &[u8]) -> bool {
    list_members(vary).any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
}

/// How much something is wanted, in thousandths; 0 is not at all (RFC 9110 §12.4.2).
type Weight = u16;

const FULL: Weight = 1000;

/// The weight of a coding that is acceptable but was not mentioned: less than that of every coding that was mentioned.
const UNASKED: Weight = 1;

/// The weight of each coding according to Accept-Encoding (RFC 9110 §12.5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptEncoding {
    weights: [Weight; Coding::ALL.len()],
}

impl AcceptEncoding {
    /// For a request without the field: any coding is acceptable. The client may not know the others, so identity has
    /// the greatest weight.
    const ABSENT: AcceptEncoding = AcceptEncoding { weights: [FULL, UNASKED, UNASKED, UNASKED] };

    /// Reads all Accept-Encoding lines among `fields`. Members that are not valid are skipped; an empty field means
    /// identity alone. Of several weights for one coding the lowest counts.
    pub fn of(fields: Fields<'_>) -> AcceptEncoding {
        let mut lines = fields.all("accept-encoding").peekable();
        if lines.peek().is_none() {
            return AcceptEncoding::ABSENT;
        }
        let mut mentions = Mentions::default();
        for member in lines.flat_map(list_members) {
            mentions.add(member);
        }
        AcceptEncoding { weights: Coding::ALL.map(|coding| mentions.weight(coding)) }
    }

    /// How much `coding` is wanted, from 0 (not acceptable) to 1000.
    pub fn weight(self, coding: Coding) -> u16 {
        self.weights[coding as usize]
    }

    /// The best of the `available` codings: the one with the highest weight, and of those the greatest.
    ///
    /// `None` if the client accepts none of them. If identity is available, this needs an explicit `identity;q=0` or
    /// `*;q=0`. RFC 9110 §12.5.3 then allows to ignore the field or to answer 406. We answer 406, because the client
    /// has said explicitly that it cannot use the content.
    pub fn choose(self, available: impl IntoIterator<Item = Coding>) -> Option<Coding> {
        let acceptable = available.into_iter().filter(|coding| self.weight(*coding) > 0);
        acceptable.max_by_key(|coding| (self.weight(*coding), *coding))
    }
}

/// The weights that were mentioned: of each coding, and of `*`.
#[derive(Default)]
struct Mentions {
    codings: [Option<Weight>; Coding::ALL.len()],
    others: Option<Weight>,
}

impl Mentions {
    fn add(&mut self, member: &[u8]) {
        let Some((name, weight)) = weighted(member) else { return };
        let mentioned = match Coding::from_name(name) {
            Some(coding) => &mut self.codings[coding as usize],
            None if name == b"*" => &mut self.others,
            None => return,
        };
        *mentioned = Some(mentioned.map_or(weight, |before| before.min(weight)));
    }

    /// `*` gives a weight to all codings that are not mentioned, also to identity. Without `*`, of these only identity
    /// is acceptable (RFC 9110 §12.5.3).
    fn weight(&self, coding: Coding) -> Weight {
        let unmentioned = if coding == Coding::Identity { UNASKED } else { 0 };
        self.codings[coding as usize].or(self.others).unwrap_or(unmentioned)
    }
}

/// A name and its weight: `name` or `name;q=0.5`.
fn weighted(member: &[u8]) -> Option<(&[u8], Weight)> {
    match memchr::memchr(b';', member) {
        None => Some((member, FULL)),
        Some(at) => Some((trim_ows(&member[..at]), weight_parameter(trim_ows(&member[at + 1..]))??)),
    }
}

/// The weight that the parameter `q=…` gives; `None` if it is another parameter, `Some(None)` if its value is invalid.
fn weight_parameter(parameter: &[u8]) -> Option<Option<Weight>> {
    match parameter {
        [b'q' | b'Q', b'=', value @ ..] => Some(qvalue(value)),
        _ => None,
    }
}

/// qvalue: 0 to 1 with at most three decimals (RFC 9110 §12.4.2).
fn qvalue(value: &[u8]) -> Option<Weight> {
    let (whole, decimals) = match value {
        [whole @ (b'0' | b'1')] | [whole @ (b'0' | b'1'), b'.'] => (whole, &b""[..]),
        [whole @ (b'0' | b'1'), b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut weight = Weight::from(whole - b'0');
    for place in 0..3 {
        let digit = decimals.get(place).unwrap_or(&b'0');
        weight = weight * 10 + digit.is_ascii_digit().then(|| Weight::from(digit - b'0'))?;
    }
    (weight <= FULL).then_some(weight)
}

/// How much a request wants each of the media types that we can choose from (RFC 9110 §12.5.1).
#[derive(Debug, Clone, Copy)]
pub struct Accept {
    html: Preference,
    json: Preference,
    text: Preference,
}

impl Accept {
    /// Reads all Accept lines among `fields`. Members that are not valid are skipped; without the field everything is
    /// equally welcome.
    pub fn of(fields: Fields<'_>) -> Accept {
        let mut lines = fields.all("accept").peekable();
        let mut accept = Accept { html: Preference::NONE, json: Preference::NONE, text: Preference::NONE };
        if lines.peek().is_none() {
            accept.add(b"*/*");
        }
        for line in lines {
            split_unquoted(line, b',').for_each(|member| accept.add(member));
        }
        accept
    }

    /// Whether it wants HTML more than plain text. Browsers do; curl's `*/*` does not.
    pub fn prefers_html(self) -> bool {
        self.html.rank() > self.text.rank()
    }

    /// Whether it names HTML itself, and not only a range that HTML is in.
    pub fn names_html(self) -> bool {
        self.html.precedence == 3 && self.admits_html()
    }

    /// Whether HTML is acceptable at all.
    pub fn admits_html(self) -> bool {
        self.html.weight > 0
    }

    /// Whether it wants JSON more than HTML.
    pub fn prefers_json(self) -> bool {
        self.json.rank() > self.html.rank()
    }

    fn add(&mut self, member: &[u8]) {
        let Some((range, weight)) = media_range(member) else { return };
        self.html.add(b"text", b"text/html", range, weight);
        self.json.add(b"application", b"application/json", range, weight);
        self.text.add(b"text", b"text/plain", range, weight);
    }
}

/// How much one media type is wanted: the weight of the media range that fits it best.
#[derive(Debug, Clone, Copy)]
struct Preference {
    /// 1 for `*/*`, 2 for `type/*`, 3 for the type itself; 0 if nothing fits.
    precedence: u8,
    weight: Weight,
}

impl Preference {
    const NONE: Preference = Preference { precedence: 0, weight: 0 };

    /// The most specific range counts (RFC 9110 §12.5.1); of equal ones the one with the highest weight.
    fn add(&mut self, kind: &[u8], media_type: &[u8], range: &[u8], weight: Weight) {
        let precedence = match range {
            _ if range.eq_ignore_ascii_case(media_type) => 3,
            [start @ .., b'/', b'*'] if start.eq_ignore_ascii_case(kind) => 2,
            b"*/*" => 1,
            _ => return,
        };
        if (precedence, weight) > (self.precedence, self.weight) {
            *self = Preference { precedence, weight };
        }
    }

    /// The key by which preferences are compared. Between equal weights the more specific range is preferred, although
    /// they are equal by the RFC: a client that says `application/json, */*` wants JSON and accepts everything else.
    fn rank(self) -> (Weight, u8) {
        if self.weight == 0 { (0, 0) } else { (self.weight, self.precedence) }
    }
}

/// A media range and its weight. Other parameters are ignored: they would choose between variants that we do not have.
fn media_range(member: &[u8]) -> Option<(&[u8], Weight)> {
    let mut parts = split_unquoted(member, b';').map(trim_ows);
    let range = parts.next().filter(|range| range.contains(&b'/'))?;
    let weight = parts.find_map(weight_parameter).unwrap_or(Some(FULL))?;
    Some((range, weight))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::sections::Section;

    fn encodings(lines: &[&str]) -> AcceptEncoding {
        let lines: Vec<(&str, &str)> = lines.iter().map(|line| ("Accept-Encoding", *line)).collect();
        AcceptEncoding::of(Section::of(&lines).fields())
    }

    fn choice(line: &str) -> Option<Coding> {
        encodings(&[line]).choose(Coding::ALL)
    }

    fn accept(lines: &[&str]) -> Accept {
        let lines: Vec<(&str, &str)> = lines.iter().map(|line| ("accept", *line)).collect();
        Accept::of(Section::of(&lines).fields())
    }

    /// Whether HTML is preferred to text, and JSON to HTML.
    fn preferred(line: &str) -> (bool, bool) {
        (accept(&[line]).prefers_html(), accept(&[line]).prefers_json())
    }

    #[test]
    fn codings_have_names() {
        for (index, coding) in Coding::ALL.into_iter().enumerate() {
            assert_eq!(coding as usize, index);
            assert_eq!(Coding::from_name(coding.name().to_uppercase().as_bytes()), Some(coding));
            let value = coding.field_value();
            assert_eq!(value.is_none(), coding == Coding::Identity);
            assert!(value.is_none_or(|value| value.as_bytes() == coding.name().as_bytes()));
        }
        assert_eq!(Coding::from_name(b"X-GZip"), Some(Coding::Gzip));
        assert!(
            [&b""[..], b"*", b"deflate", b"brotli", b"x-br", b"gzip "].iter().all(|it| Coding::from_name(it).is_none())
        );
    }

    #[test]
    fn what_clients_send_gets_the_smallest() {
        assert_eq!(choice("gzip, deflate, br, zstd"), Some(Coding::Brotli), "browsers");
        assert_eq!(choice("deflate, gzip, zstd"), Some(Coding::Zstd), "curl --compressed without br");
        assert_eq!(choice("gzip"), Some(Coding::Gzip));
        assert_eq!(choice("identity"), Some(Coding::Identity), "wget");
        assert_eq!(choice("gzip;q=1.0, br;q=0.5"), Some(Coding::Gzip));
        assert_eq!(choice("identity;q=0.5, gzip;q=0.4"), Some(Coding::Identity));
        assert_eq!(choice("deflate, compress"), Some(Coding::Identity));
        assert_eq!(choice("*"), Some(Coding::Brotli));
        assert_eq!(choice("br;q=0, *"), Some(Coding::Zstd));
        assert_eq!(encodings(&["gzip", "br"]).choose(Coding::ALL), Some(Coding::Brotli), "over several lines");
    }

    #[test]
    fn who_does_not_ask_gets_identity_but_would_take_anything() {
        let absent = AcceptEncoding::of(Fields::default());
        assert_eq!(absent.choose(Coding::ALL), Some(Coding::Identity));
        assert_eq!(absent.choose([Coding::Gzip]), Some(Coding::Gzip));
        assert_eq!(encodings(&[""]).choose(Coding::ALL), Some(Coding::Identity));
        assert_eq!(encodings(&[""]).choose([Coding::Gzip]), None, "an empty field wants none");
    }

    #[test]
    fn identity_can_be_refused() {
        assert_eq!(choice("identity;q=0, gzip;q=0.001"), Some(Coding::Gzip));
        assert_eq!(choice("identity;q=0"), None);
        assert_eq!(choice("*;q=0"), None);
        assert_eq!(choice("*;q=0, identity"), Some(Coding::Identity));
        assert_eq!(choice("*;q=0, gzip"), Some(Coding::Gzip));
        assert_eq!(encodings(&["gzip, identity;q=0"]).choose([Coding::Identity]), None);
        assert_eq!(encodings(&["gzip"]).choose([Coding::Identity]), Some(Coding::Identity));
    }

    #[test]
    fn malformed_members_are_skipped() {
        let malformed =
            ["br;q", "br;q=", "br;q=2", "br;q=1.001", "br;q=0.1234", "br;q=-1", "br;q=.5", "br;q=0,5", "br;w=1"];
        for member in
            malformed.into_iter().chain(["b r", "br q=1", ";q=1", "br;q =1", "br;q= 1", "br;q=0.5;q=1", "\"br\""])
        {
            let lenient = encodings(&[&format!("{member}, gzip;q=0.3")]);
            assert_eq!((lenient.weight(Coding::Brotli), lenient.weight(Coding::Gzip)), (0, 300), "{member}");
        }
        assert_eq!(encodings(&["BR ; Q=0.5"]).weight(Coding::Brotli), 500);
        assert_eq!(encodings(&["gzip, x-gzip;q=0.2"]).weight(Coding::Gzip), 200, "the lowest counts");
    }

    #[test]
    fn weights_are_thousandths() {
        for weight in 0..=1000u16 {
            let text = format!("{}.{:03}", weight / 1000, weight % 1000);
            assert_eq!(qvalue(text.as_bytes()), Some(weight), "{text}");
            let short = text.trim_end_matches('0');
            assert_eq!(qvalue(short.as_bytes()), Some(weight), "{short}");
        }
        assert_eq!((qvalue(b"0"), qvalue(b"1"), qvalue(b"1.")), (Some(0), Some(1000), Some(1000)));
        for bad in ["", ".", "2", "00", "01", "1.1", "1.0000", "0.a", "0.1a", "0.-1", "1,0", "0.5 "] {
            assert_eq!(qvalue(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn browsers_prefer_html_and_programs_json() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        assert_eq!(preferred(browser), (true, false));
        assert_eq!(preferred("*/*"), (false, false), "curl");
        assert_eq!(preferred("application/json"), (false, true));
        assert_eq!(preferred("application/json, text/plain, */*"), (false, true), "axios");
        assert_eq!(preferred("text/html, application/json"), (true, false));
        assert_eq!(preferred("text/html;q=0.5, application/json;q=0.6"), (true, true));
        assert_eq!(preferred("text/*"), (false, false));
        assert_eq!(preferred("text/html;q=0, */*"), (false, true));
        assert_eq!(preferred("application/*;q=0.9, */*;q=0.8"), (false, true));
        assert_eq!(preferred("text/html;q=0.2, text/*;q=0.9"), (false, false));
        assert_eq!(preferred("text/plain;q=0.2, text/*;q=0.9"), (true, false));
        assert_eq!(preferred("text/html;q=0"), (false, false), "nothing is not preferred to nothing");
        assert_eq!(preferred("application/json;q=0"), (false, false));
        assert_eq!((accept(&[]).prefers_html(), accept(&[]).prefers_json()), (false, false));
        let two_lines = accept(&["text/plain;q=0.5", "TEXT/HTML"]);
        assert!(two_lines.prefers_html() && !two_lines.prefers_json());
    }

    #[test]
    fn parameters_of_media_ranges_are_passed_over() {
        assert_eq!(preferred("application/json; charset=utf-8"), (false, true));
        assert_eq!(preferred("application/json;odata=\"a,b;q=0\";q=0.9, text/html;q=0.5"), (true, true));
        assert_eq!(preferred("application/json;x=\"\\\",\";q=0.4, text/html;q=0.5"), (true, false));
        assert_eq!(preferred("application/json;q=x, text/html;q=0.1"), (true, false), "malformed, hence skipped");
        assert_eq!(preferred("json, html, */"), (false, false));
    }

    /// The weight of `coding` by the plainest reading: the lowest it is mentioned with, or else what `*` has, or else
    /// that of the unmentioned.
    fn expected(members: &[(String, u16)], coding: Coding) -> u16 {
        let lowest =
            |wanted: &[&str]| members.iter().filter(|(name, _)| wanted.contains(&&name[..])).map(|it| it.1).min();
        let names: &[&str] = match coding {
            Coding::Identity => &["identity"],
            Coding::Gzip => &["gzip", "x-gzip"],
            Coding::Zstd => &["zstd"],
            Coding::Brotli => &["br"],
        };
        lowest(names).or(lowest(&["*"])).unwrap_or(if coding == Coding::Identity { 1 } else { 0 })
    }

    /// A member as it may be written.
    fn written((name, weight): &(String, u16), (upper, space, whole): &(bool, String, bool)) -> String {
        let name = if *upper { name.to_uppercase() } else { name.clone() };
        match weight {
            1000 if *whole => name,
            _ => format!("{name}{space};{space}q={}.{:03}{space}", weight / 1000, weight % 1000),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_best_available_coding_is_chosen(
            members in prop::collection::vec(
                ("br|gzip|x-gzip|zstd|identity|\\*|deflate", prop_oneof![Just(0u16), Just(1000), 0..=1000u16]), 0..6),
            styles in prop::collection::vec((any::<bool>(), "[ \t]{0,2}", any::<bool>()), 6),
            split in 0..6usize,
            available in prop::sample::subsequence(Coding::ALL.to_vec(), 0..=4),
        ) {
            let texts: Vec<String> = members.iter().zip(&styles).map(|(member, style)| written(member, style)).collect();
            let (first, second) = texts.split_at(split.min(texts.len()));
            let encodings = encodings(&[&first.join(","), &second.join(" , ")]);
            for coding in Coding::ALL {
                prop_assert_eq!(encodings.weight(coding), expected(&members, coding), "{:?} of {:?}", coding, &texts);
            }
            let mut ranked: Vec<(u16, Coding)> = available.iter().map(|it| (expected(&members, *it), *it)).collect();
            ranked.sort();
            let best = ranked.last().filter(|(weight, _)| *weight > 0).map(|(_, coding)| *coding);
            prop_assert_eq!(encodings.choose(available.iter().copied()), best);
        }

        #[test]
        fn no_value_is_too_odd(value in prop::collection::vec(any::<u8>(), 0..40), text in "[a-z*/;,=q01.\"\\\\ ]{0,40}") {
            for value in [&value[..], text.as_bytes()] {
                let section = Section::of(&[("Accept", value), ("Accept-Encoding", value)]);
                let accept = Accept::of(section.fields());
                prop_assert!(accept.json.weight <= FULL && accept.html.weight <= FULL && accept.text.weight <= FULL);
                let encodings = AcceptEncoding::of(section.fields());
                prop_assert!(Coding::ALL.iter().all(|coding| encodings.weight(*coding) <= FULL));
            }
        }
    }
}
