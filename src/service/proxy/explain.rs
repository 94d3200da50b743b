//! Tells which route a request takes, and what the upstream gets. Nothing is decided here: the reasons are those values by which
//! requests are served.

use std::rc::Rc;

use super::Proxy;
use super::balance::{Balance, KeySource};
use super::exchange::INVITATION_PATIENCE;
use super::message::{self, Fate, Outgoing, Sender};
use super::path::NormalPath;
use super::route::{Fit, HostField, Matched, Route, Upstream, UpstreamHost};
use crate::base::limits::Limits;
use crate::http::exchange::Cx;
use crate::http::message::RequestHead;
use crate::http::negotiate::Coding;
use crate::http::upstream::OutgoingRequest;
use crate::service::coding::{coding_for, refuses_transforms};
use crate::service::explanation::{Explanation, accepted_text, printable};

impl Proxy {
    /// Tells what becomes of a request with these limits. False: no route takes it, so it is not passed on.
    pub fn explain(
        &self,
        request: &RequestHead<'_>,
        cx: &Cx<'_>,
        limits: &Limits,
        explanation: &mut Explanation,
    ) -> bool {
        let Some(matched) = self.routes.find(request) else {
            let path = NormalPath::of_request(request);
            let fits = self.routes.fits(request, path.as_bytes());
            explanation.note_lines("proxy", fits.map(|(route, fit)| format!("not {route}: {}", unfit_text(fit))));
            return false;
        };
        explanation.note("route", format_args!("proxy: {}: {}", matched.route, fit_text(&matched)));
        explanation.note_lines("other routes", self.others(request, &matched));
        if matched.path.as_bytes() != request.target.path && matched.path.defect().is_none() {
            let path = printable(matched.path.as_bytes());
            explanation.note("path", format_args!("{path}, normalised (RFC 3986 §6.2.2)"));
        }
        match self.outgoing(request, &matched, cx) {
            Ok(outgoing) => {
                explain_outgoing(matched.route, request, &outgoing, &self.sender(cx), limits, explanation);
                explanation.outgoing = Some(outgoing.request);
            }
            Err(refusal) => explanation.note("refused", format_args!("no upstream is asked: {refusal}")),
        }
        true
    }

    /// Why the other routes do not take the request.
    fn others<'r>(&'r self, request: &RequestHead<'_>, matched: &Matched<'r, '_>) -> impl Iterator<Item = String> {
        let winner = matched.route;
        let fits = self.routes.fits(request, matched.path.as_bytes());
        fits.filter(move |(route, _)| !Rc::ptr_eq(route, winner)).map(move |(route, fit)| {
            // The winner is tried first, so each other one that fits has less to say.
            let why = match fit {
                Fit::Fits if winner.host.is_some() && route.host.is_none() => "it fits, too, but has no HOST",
                Fit::Fits => "it fits, too, but its PATH is shorter",
                unfit => unfit_text(unfit),
            };
            format!("{route}: {why}")
        })
    }
}

fn fit_text(Matched { route, path, .. }: &Matched<'_, '_>) -> String {
    let host = match &route.host {
        Some(host) => format!("the host is {host}"),
        None => "for any host".into(),
    };
    match route.prefix.as_str() {
        "" => format!("{host}, and any path"),
        prefix => format!("{host}, and {} is {prefix} or lies beneath it", printable(path.as_bytes())),
    }
}

fn unfit_text(fit: Fit) -> &'static str {
    match fit {
        Fit::Fits => "it fits",
        Fit::OtherPath => "the path does not begin with it",
        Fit::OtherHost => "it is for another host",
    }
}

/// What is sent where, and for how long that may take.
fn explain_outgoing(
    route: &Route,
    head: &RequestHead<'_>,
    outgoing: &Outgoing,
    sender: &Sender<'_>,
    limits: &Limits,
    explanation: &mut Explanation,
) {
    let request = &outgoing.request;
    explanation.note("sent as", target_text(route, request));
    explanation.note_lines("upstream", route.upstreams.iter().map(upstream_text));
    if let Some(choice) = choice_text(route, head) {
        explanation.note("chosen", choice);
    }
    if let Some(health) = &route.health {
        explanation.note("health", format_args!("each address is asked {} every {:?}", health.target, health.interval));
    }
    explanation.note("host", host_text(route, request, head));
    explanation.note_lines("removed", removed(head, request, sender));
    explanation.note("added", added(head, request));
    explanation.note_lines("kept", kept(head));
    if request.expects_continue {
        let patience = INVITATION_PATIENCE;
        explanation.note("expect", format_args!("the upstream answers it, or after {patience:?} we do"));
    }
    if let Some(protocols) = &request.upgrade {
        explanation.note("upgrade", format_args!("the upstream is asked for {}", printable(protocols)));
    }
    if route.sends_proxy_header {
        explanation.note("preface", "a PROXY header, so the connection is for this request alone (proxy-protocol)");
    }
    explanation.note("timeouts", timeouts_text(route, request));
    explanation.note("half-close", half_close_text(route, request, limits));
    explanation.note("coding", coding_text(route, outgoing, head, limits));
}

fn target_text(route: &Route, request: &OutgoingRequest) -> String {
    let target = printable(&request.target);
    match &route.replacement {
        Some(replacement) if request.target != b"*" => match replacement.as_str() {
            "" => format!("{target}, without {} (strip)", route.prefix),
            replacement => match route.prefix.as_str() {
                "" => format!("{target}, with {replacement} in front (replace)"),
                prefix => format!("{target}, with {replacement} in the place of {prefix} (replace)"),
            },
        },
        _ => target,
    }
}

fn upstream_text(upstream: &Upstream) -> String {
    match &upstream.host {
        UpstreamHost::Address(_) => upstream.to_string(),
        UpstreamHost::Name(name) => format!("{upstream}, at all addresses that DNS has of {name}"),
    }
}

/// How one address is chosen; `None`: there is only one.
fn choice_text(route: &Route, head: &RequestHead<'_>) -> Option<String> {
    let is_address = |upstream: &Upstream| matches!(upstream.host, UpstreamHost::Address(_));
    if let [only] = &route.upstreams[..]
        && is_address(only)
    {
        return None;
    }
    Some(match &route.balance {
        Balance::RoundRobin => "one address after the other (balance=round-robin)".into(),
        Balance::LeastConn => "the address with the fewest requests (balance=least-conn)".into(),
        Balance::Hash(KeySource::Client) => "by the client's address (balance=hash)".into(),
        Balance::Hash(KeySource::Field(name)) => {
            let name = name.as_str();
            match head.fields.first(name) {
                Some(value) => format!("by {name}: {} (balance=hash={name})", printable(value)),
                None => format!("one address after the other, since there is no {name} (balance=hash={name})"),
            }
        }
    })
}

fn host_text(route: &Route, request: &OutgoingRequest, head: &RequestHead<'_>) -> String {
    let host = printable(&request.host);
    let is_kept = head.authority().is_some_and(|authority| !authority.is_empty());
    match &route.host_field {
        HostField::Keep if is_kept => format!("{host}, whom the client has asked (host=keep)"),
        HostField::Name(_) => format!("{host} (host={host})"),
        HostField::Keep => format!("{host}, the upstream's own, since the client has named none (host=keep)"),
        HostField::Upstream if route.upstreams.len() > 1 => {
            format!("{host}, or what the chosen one is called (host=upstream)")
        }
        HostField::Upstream => format!("{host}, the upstream's own (host=upstream)"),
    }
}

/// The fields of the request that the upstream does not get, by the reason.
fn removed(head: &RequestHead<'_>, request: &OutgoingRequest, sender: &Sender<'_>) -> Vec<String> {
    const REASONS: [(Fate, &str); 6] = [
        (Fate::OfConnection, "about the client's connection (RFC 9110 §7.6.1)"),
        (Fate::Named, "named by Connection, so about the client's connection (RFC 9110 §7.6.1)"),
        (Fate::Untrusted, "not believed, since the client is no trusted proxy (--trusted-proxy)"),
        (Fate::Written, "written anew, since the client is no trusted proxy (--trusted-proxy)"),
        (Fate::Lookalike, "some take the underscores for hyphens, and then it says who the client is"),
        (Fate::Identifies, "written anew (--request-id)"),
    ];
    let has_word_for = |name: &[u8]| {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        // The request to the upstream has its own words for these.
        is("content-length")
            || is("transfer-encoding")
            || (is("connection") && (request.upgrade.is_some() || request.takes_trailers))
            || (is("upgrade") && request.upgrade.is_some())
            || (is("te") && request.takes_trailers)
    };
    let of = |reason: Fate| {
        let names = message::fates(head, sender).filter(|(name, fate)| *fate == reason && !has_word_for(name));
        names.map(|(name, _)| printable(name)).collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    for (fate, reason) in REASONS {
        let names = of(fate);
        let is_extended = fate == Fate::Written && sender.is_trusted;
        if !names.is_empty() && !is_extended {
            lines.push(format!("{}: {reason}", names.join(", ")));
        }
    }
    if head.fields.first("expect").is_some() && !request.expects_continue {
        lines.push("Expect: no content waits for it (RFC 9110 §10.1.1)".into());
    }
    lines
}

/// The names of the lines that the request has not had, or had with another value.
fn added(head: &RequestHead<'_>, request: &OutgoingRequest) -> String {
    let lines = request.lines.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty());
    let is_new = |line: &&[u8]| {
        let was_there = |(name, value): (&[u8], &[u8])| {
            line.strip_prefix(name).and_then(|rest| rest.strip_prefix(b": ")).is_some_and(|rest| rest == value)
        };
        !head.fields.iter().any(was_there)
    };
    let names = lines.filter(is_new).filter_map(|line| line.split(|byte| *byte == b':').next()).map(printable);
    names.collect::<Vec<_>>().join(", ")
}

/// The fields that `Connection` cannot have removed.
fn kept(head: &RequestHead<'_>) -> Option<String> {
    let names = message::named_in_vain(head.fields)
        .filter(|name| head.fields.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)));
    let names: Vec<_> = names.map(printable).collect();
    (!names.is_empty()).then(|| format!("{}: for the upstream, so Connection cannot have it removed", names.join(", ")))
}

/// In which coding the client gets the response's content.
fn coding_text(route: &Route, outgoing: &Outgoing, head: &RequestHead<'_>, limits: &Limits) -> String {
    const AS_IT_IS: &str = "as the upstream sends it";
    let accepted = accepted_text(head.fields);
    match coding_for(head) {
        _ if !route.compresses => format!("{AS_IT_IS}: the route has no compress"),
        _ if limits.coded_streams_max == 0 => format!("{AS_IT_IS}: --file-cache 0 compresses nothing"),
        _ if !outgoing.asked.allows_coding() => format!("{AS_IT_IS}, since the request has Range (RFC 9110 §14.2)"),
        Coding::Identity if refuses_transforms(head.fields) => {
            format!("{AS_IT_IS}, since the request has Cache-Control: no-transform (RFC 9111 §5.2.1.6)")
        }
        Coding::Identity => format!("{AS_IT_IS}: {accepted} (RFC 9110 §12.5.3)"),
        coding => format!("{}, if the response is worth it: {accepted} (RFC 9110 §12.5.3)", coding.name()),
    }
}

/// What becomes of the request when the client ends its direction before it has the response.
fn half_close_text(route: &Route, request: &OutgoingRequest, limits: &Limits) -> &'static str {
    match route.aborts_on_close || limits.abort_on_close {
        true if request.upgrade.is_some() => "a client that ends its direction before 101 has left (abort-on-close)",
        true => "a client that ends its direction has left: the upstream gets a reset (abort-on-close)",
        false => "a client that ends its direction gets its response: no abort-on-close",
    }
}

fn timeouts_text(route: &Route, request: &OutgoingRequest) -> String {
    let Route { connect_timeout, response_timeout, tunnel_timeout, .. } = route;
    let tunnel = match request.upgrade {
        Some(_) => format!(", {tunnel_timeout:?} without a byte behind 101"),
        None => String::new(),
    };
    format!(
        "{connect_timeout:?} to connect, {response_timeout:?} for the head of the response and between two pieces{tunnel}"
    )
}
