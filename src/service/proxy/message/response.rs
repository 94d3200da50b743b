//! From an upstream's response to what the client gets.

use super::connection::{Options, is_about_the_connection};
use super::forwarded::Forwarding;
use super::request::is_name;
use super::via;
use crate::http::etag::{EntityTag, any_listed};
use crate::http::fields::{FieldName, FieldSet, FieldValue, Fields, Line, is_allowed_in_trailers, list_members};
use crate::http::negotiate::varies_by_coding;
use crate::http::status::Status;
use crate::http::upstream::{ResponseContent, ResponseHead};
use crate::service::proxy::route::Route;

/// What of a request must be known when its response comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whom the client has asked, if that is needed to rewrite `Location`.
    pub(super) authority: Option<Box<[u8]>>,
    /// The protocols that the upstream was asked to switch to.
    pub(super) upgrade: Option<Vec<u8>>,
    /// What it has to answer to our own key: the client speaks HTTP/2, and has sent none.
    pub(super) accept: Option<String>,
    /// What of the request decides on the coding of the response's content, if the route lets us code it.
    pub(super) recoding: Option<Recoding>,
    /// The field that the client gets the identifier of its request in, from us.
    pub(super) identified_by: Option<FieldName>,
}

/// What of a request decides on the coding of its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recoding {
    /// It asks for a part, so it gets the upstream's bytes, whole or in part. That is what a client needs that has the beginning
    /// of them.
    is_for_part: bool,
    /// The lines of If-None-Match: entity tags of what the client has.
    tags: Vec<Box<[u8]>>,
}

impl Recoding {
    pub(super) fn of(fields: Fields<'_>) -> Recoding {
        let tags = fields.all("if-none-match").map(Into::into).collect();
        Recoding { is_for_part: fields.first("range").is_some(), tags }
    }

    /// The strong tag of a 304 as a weak one, if the client has it so: then it has the coded form, which we have given that tag
    /// (RFC 9110 §8.8.3.3), and a cache would not find the strong one (RFC 9111 §4.3.4).
    fn weak_tag(&self, fields: Fields<'_>) -> Option<FieldValue> {
        let tag = fields.first("etag").and_then(EntityTag::parse).filter(|tag| !tag.is_weak())?;
        let is_listed = |is_it: &dyn Fn(EntityTag<'_>) -> bool| any_listed(self.tags.iter().map(|line| &**line), is_it);
        let is_listed_as_weak = is_listed(&|other| other.is_weak() && tag.matches_weakly(other)) == Some(true);
        let is_listed_as_it_is = is_listed(&|other| tag.matches_strongly(other)) == Some(true);
        (is_listed_as_weak && !is_listed_as_it_is).then(|| tag.weakened().to_field_value())
    }
}

impl Asked {
    /// The fields of a response to the client, interim ones (RFC 9110 §15.2) too. The protocol adds those that frame
    /// content and are about the client's connection. `Date`, `Server` and `Content-Type` are among them if the upstream
    /// has sent them, as in [`Response::of_upstream`](crate::http::message::Response::of_upstream).
    pub fn response_fields(&self, head: &ResponseHead<'_>, route: &Route) -> FieldSet {
        let options = Options::of(head.fields);
        let passes = |(name, _): &(&[u8], &[u8])| {
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            match name.len() {
                // RFC 9110 §15.5.22: 426 has to say what to upgrade to.
                7 if is("upgrade") => head.status == Status::UPGRADE_REQUIRED,
                7 if is("alt-svc") => false,
                20 if is("sec-websocket-accept") => self.accept.is_none(),
                _ if self.identified_by.as_ref().is_some_and(|own| is_name(own, name)) => false,
                _ => !is_about_the_connection(name) && !options.names(name),
            }
        };
        let is_location =
            |name: &[u8]| name.eq_ignore_ascii_case(b"location") || name.eq_ignore_ascii_case(b"content-location");
        // Hardly ever any: nothing is moved unless the route replaces the prefix.
        let places = head.fields.iter().filter(|(name, _)| route.replacement.is_some() && is_location(name));
        let moved: Vec<(&[u8], Vec<u8>)> =
            places.filter_map(|(_, value)| Some((value, self.moved(value, route)?))).collect();
        let revalidated = self.recoding.as_ref().filter(|_| head.status == Status::NOT_MODIFIED);
        let weak_tag = revalidated.and_then(|recoding| recoding.weak_tag(head.fields));
        let fields = head.fields.iter().filter(passes).map(|(name, value)| {
            let moved = moved.iter().find(|(from, _)| is_location(name) && *from == value);
            let weak_tag = weak_tag.as_ref().filter(|_| name.eq_ignore_ascii_case(b"etag"));
            (name, weak_tag.map_or(moved.map_or(value, |(_, to)| to), FieldValue::as_bytes))
        });
        // RFC 9110 §15.4.5: the 200 that it stands for may have said so.
        let vary = revalidated
            .filter(|_| !head.fields.all("vary").any(varies_by_coding))
            .map(|_| (&b"Vary"[..], &b"Accept-Encoding"[..]));
        FieldSet::of_parsed(fields.chain([(&b"Via"[..], via(head.version).as_bytes())]).chain(vary))
    }

    /// Whether the content of the response may be coded on its way to the client.
    pub fn allows_coding(&self) -> bool {
        self.recoding.as_ref().is_some_and(|recoding| !recoding.is_for_part)
    }

    /// What follows the head of the response. A 304 must not have a length that its 200 would not have (RFC 9110 §8.6), and that
    /// of coded content has none.
    pub fn content(&self, head: &ResponseHead<'_>) -> ResponseContent {
        match head.content {
            ResponseContent::Nothing(_) if head.status == Status::NOT_MODIFIED && self.recoding.is_some() => {
                ResponseContent::Nothing(None)
            }
            content => content,
        }
    }

    /// The protocol that a 101 switches to, checked: the client must have asked for it (RFC 9110 §7.8), and a WebSocket that
    /// we have asked for ourselves must have the right answer to our key (RFC 6455 §4.1).
    ///
    /// # Errors
    /// What is wrong with the response.
    pub fn switched_to<'a>(&self, head: &ResponseHead<'a>) -> Result<&'a [u8], &'static str> {
        let asked = self.upgrade.as_deref().ok_or("it switches protocols, and was not asked to")?;
        let mut protocols = head.fields.all("upgrade").flat_map(list_members);
        let (Some(protocol), None) = (protocols.next(), protocols.next()) else {
            return Err("it switches protocols, and does not say to which one");
        };
        if !list_members(asked).any(|other| other.eq_ignore_ascii_case(protocol)) {
            return Err("it switches to a protocol that it was not asked for");
        }
        if let Some(accept) = &self.accept {
            let mut line = Line::Absent;
            head.fields.all("sec-websocket-accept").for_each(|value| line.add(value));
            if line != Line::Once(accept.as_bytes()) {
                return Err("its Sec-WebSocket-Accept is not the answer to our key");
            }
        }
        Ok(protocol)
    }

    /// Where `location` is for the client, if the route replaces the prefix, and it is beneath what the upstream gets
    /// instead. What begins with the prefix already stays: the application knows where it is.
    fn moved(&self, location: &[u8], route: &Route) -> Option<Vec<u8>> {
        let (prefix, replacement) = (route.prefix.as_bytes(), route.replacement.as_ref()?.as_bytes());
        let Place { origin, path, is_public } = self.place(location, route)?;
        if is_public && !prefix.is_empty() && beneath(path, prefix).is_some() {
            return None;
        }
        let mut rest = beneath(path, replacement)?;
        let mut moved = [origin, prefix].concat();
        if prefix.is_empty() {
            // A path has a slash at its beginning, and not two: they would make a host of what follows (RFC 3986 §4.2).
            moved.push(b'/');
            rest = &rest[rest.iter().take_while(|byte| **byte == b'/').count()..];
        }
        moved.extend_from_slice(rest);
        Some(moved)
    }

    /// Takes apart a path, or a URL of the host that the client has asked or of an upstream; `None` for all others.
    fn place<'a>(&self, location: &'a [u8], route: &Route) -> Option<Place<'a>> {
        // Two slashes are followed by a host (RFC 3986 §4.2).
        if location.starts_with(b"/") && !location.starts_with(b"//") {
            return Some(Place { origin: b"", path: location, is_public: true });
        }
        let scheme = ["http://", "https://", "//"].into_iter().find(|scheme| {
            location.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
        })?;
        let behind = &location[scheme.len()..];
        let len = behind.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(behind.len());
        let (authority, path) = behind.split_at(len);
        let bare = without_default_port(authority, scheme);
        let is = |name: &[u8]| without_default_port(name, scheme).eq_ignore_ascii_case(bare);
        if self.authority.as_deref().is_some_and(is) {
            return Some(Place { origin: &location[..scheme.len() + len], path, is_public: true });
        }
        let mut upstreams = route.upstreams.iter();
        let is_upstream =
            upstreams.any(|upstream| is(upstream.authority.as_bytes()) || is(route.host_for(upstream, None)));
        is_upstream.then_some(Place { origin: b"", path, is_public: false })
    }
}

/// A location, as far as it concerns a route.
struct Place<'a> {
    /// Scheme and authority, as far as the client needs them.
    origin: &'a [u8],
    /// The path and everything behind it.
    path: &'a [u8],
    /// Whether it may be meant as the client sees it, and not as the upstream does.
    is_public: bool,
}

/// An authority without the port that its scheme has anyway (RFC 9110 §4.2.3).
fn without_default_port<'a>(authority: &'a [u8], scheme: &str) -> &'a [u8] {
    let port: &[u8] = match scheme {
        "http://" => b":80",
        "https://" => b":443",
        // It is that of the page, which is not known here.
        _ => return authority,
    };
    authority.strip_suffix(port).unwrap_or(authority)
}

/// What stands behind `root` in a path that is `root` or lies beneath it.
fn beneath<'a>(path: &'a [u8], root: &[u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(root)?;
    matches!(rest.first(), None | Some(b'/' | b'?' | b'#')).then_some(rest)
}

/// The fields behind content that are passed on: those that may stand there (RFC 9110 §6.5.1), and of which nobody
/// believes that they say who the client is.
pub fn trailers(fields: Fields<'_>) -> FieldSet {
    let passes =
        |name: &[u8]| is_allowed_in_trailers(name) && !is_about_the_connection(name) && Forwarding::of(name).is_none();
    FieldSet::of_parsed(fields.iter().filter(|(name, _)| passes(name)))
}
