//! A route as it stands on the command line: `[HOST]/path/=URL[,URL...][ option...]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::http::authority;
use crate::http::fields::FieldName;
use crate::process::quantity::{duration, number};
use crate::process::settings::{DAY, MS};
use crate::service::proxy::balance::{Balance, KeySource};
use crate::service::proxy::health::CHECK_INTERVAL;
use crate::service::proxy::path::NormalPath;
use crate::service::proxy::route::{HealthCheck, HostField, Route, Upstream, ipv6_of};

/// The shortest time from one health check to the next.
const HEALTH_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Reads a route.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn parse(text: &str) -> Result<Route, String> {
    let example = "such as /api/=http://127.0.0.1:3000";
    let (place, behind) = text.split_once('=').ok_or(format!("expected [HOST]/PATH/=URL, {example}"))?;
    let (host, prefix) = place_of(place.trim_start())?;
    parse_behind(host, prefix, behind)
}

/// The same for what stands behind the `=`.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn parse_behind(host: Option<String>, prefix: String, behind: &str) -> Result<Route, String> {
    let mut words = behind.split_ascii_whitespace();
    let urls = words.next().filter(|_| !behind.starts_with([' ', '\t'])).ok_or("expected a URL right behind the =")?;
    let mut upstreams = Vec::new();
    for url in urls.split(',') {
        if url.is_empty() {
            return Err(match urls.ends_with(',') && words.next().is_some() {
                true => "no space may stand behind a comma between URLs".into(),
                false => format!("there is an empty URL beside a comma: {urls}"),
            });
        }
        let upstream = upstream(url, &prefix)?;
        if upstreams.contains(&upstream) {
            return Err(format!("the URL {url} is there twice"));
        }
        upstreams.push(upstream);
    }
    let mut route = Route::new(host, prefix, upstreams);
    let mut interval = None;
    let mut seen = Vec::new();
    for word in words {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        // Both say what becomes of the prefix.
        let said = if name == "strip" { "replace" } else { name };
        match seen.iter().find(|(other, _)| *other == said) {
            Some((_, before)) if *before != name => {
                return Err(format!(
                    "the options {before} and {name} exclude each other: say what becomes of PATH once"
                ));
            }
            Some(_) => return Err(format!("the option {name} has been said already")),
            None => seen.push((said, name)),
        }
        match (name, value) {
            ("health-interval", Some(value)) => interval = Some(time(name, value, HEALTH_INTERVAL_MIN..=DAY)?),
            _ => set(&mut route, name, value)?,
        }
    }
    match (&mut route.health, interval) {
        (Some(health), Some(interval)) => health.interval = interval,
        (None, Some(_)) => return Err("health-interval needs health=/PATH".into()),
        (_, None) => {}
    }
    Ok(route)
}

/// Sets what an option says.
fn set(route: &mut Route, name: &str, value: Option<&str>) -> Result<(), String> {
    match (name, value) {
        ("strip", None) if route.prefix.is_empty() => {
            return Err("strip has no use at the path /: there is nothing to take off".into());
        }
        ("strip", None) => route.replacement = Some(replacement(route, "/")?),
        ("replace", Some(path)) => route.replacement = Some(replacement(route, path)?),
        ("host", Some(host)) => route.host_field = host_field(host)?,
        ("balance", Some(balance)) => route.balance = self::balance(balance)?,
        ("health", Some(target)) => {
            route.health = Some(HealthCheck { target: self::target(target)?, interval: CHECK_INTERVAL })
        }
        ("connect-timeout", Some(value)) => route.connect_timeout = time(name, value, MS..=DAY)?,
        ("response-timeout", Some(value)) => route.response_timeout = time(name, value, MS..=DAY)?,
        ("idle-timeout", Some(value)) => route.idle_timeout = time(name, value, Duration::ZERO..=DAY)?,
        ("tunnel-timeout", Some(value)) => route.tunnel_timeout = time(name, value, MS..=DAY)?,
        ("forwarded", None) => route.sends_forwarded = true,
        ("proxy-protocol", None) => route.sends_proxy_header = true,
        ("compress", None) => route.compresses = true,
        ("abort-on-close", None) => route.aborts_on_close = true,
        ("max", Some(value)) => {
            let max = number(1..=1_000_000)(value).map_err(|problem| format!("max={value}: {problem}"))?;
            route.connections_max = Some(max);
        }
        ("strip" | "forwarded" | "proxy-protocol" | "compress" | "abort-on-close", Some(_)) => {
            return Err(format!("the option {name} has no value"));
        }
        _ if OPTIONS.iter().any(|(known, _)| *known == name) => {
            let (_, example) = OPTIONS.iter().find(|(known, _)| *known == name).copied().unwrap_or_default();
            return Err(format!("the option {name} needs a value, as in {name}={example}"));
        }
        _ => {
            let known: Vec<_> = OPTIONS.iter().map(|(known, _)| *known).collect();
            return Err(format!("there is no option {name}: expected {}", known.join(", ")));
        }
    }
    Ok(())
}

/// All options, with a value of those that have one.
const OPTIONS: [(&str, &str); 15] = [
    ("strip", ""),
    ("replace", "/v2/"),
    ("host", "upstream"),
    ("balance", "least-conn"),
    ("health", "/healthz"),
    ("health-interval", "5s"),
    ("connect-timeout", "3s"),
    ("response-timeout", "60s"),
    ("idle-timeout", "4s"),
    ("tunnel-timeout", "1h"),
    ("forwarded", ""),
    ("proxy-protocol", ""),
    ("compress", ""),
    ("abort-on-close", ""),
    ("max", "100"),
];

/// The host and the prefix in front of the `=`.
fn place_of(place: &str) -> Result<(Option<String>, String), String> {
    let Some(slash) = place.find('/') else {
        return Err(format!("expected a path in front of the =, such as {place}/"));
    };
    let (host, path) = place.split_at(slash);
    if host.contains('*') {
        return Err(format!("the host {host} must be one name: leave it out for all hosts"));
    }
    let is_host = |host: &str| authority::host(host.as_bytes()) == Some(host);
    if !host.is_empty() && !is_host(host) {
        return Err(format!("the host {host} is not a name or an address without a port, such as www.example.org"));
    }
    let host = match ipv6_of(host.as_bytes()) {
        // An address has many spellings (RFC 5952 §2).
        Some(address) => format!("[{address}]"),
        None => host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(),
    };
    Ok((Some(host).filter(|host| !host.is_empty()), prefix(path)?))
}

/// A path as it is compared and put in the place of others: normalised, and without the slash at its end.
fn prefix(path: &str) -> Result<String, String> {
    let normal = NormalPath::new(path.as_bytes());
    if let Some(defect) = normal.defect() {
        return Err(format!("{path}: {defect}"));
    }
    if !path.starts_with('/') || path.contains(['?', '#']) || path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(format!("{path} is not a path, such as /api/"));
    }
    let text = String::from_utf8_lossy(normal.as_bytes()).into_owned();
    if text.ends_with("//") {
        return Err(format!("{path} ends with several slashes: expected one, such as /api/"));
    }
    Ok(text.strip_suffix('/').map(str::to_owned).unwrap_or(text))
}

fn replacement(route: &Route, path: &str) -> Result<String, String> {
    let replacement = prefix(path)?;
    match route.prefix == replacement {
        true => Err(format!("the path {path} would be replaced by itself")),
        false => Ok(replacement),
    }
}

/// `http[s]://host[:port]`
fn upstream(url: &str, prefix: &str) -> Result<Upstream, String> {
    let wrong = |problem: &str| Err(format!("the URL {url} {problem}"));
    let lower = url.to_ascii_lowercase();
    let (is_secured, rest) = match (lower.strip_prefix("http://"), lower.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ if lower.starts_with("unix:") => return wrong("names a Unix socket: expected http://HOST:PORT"),
        _ if lower.contains("://") => return wrong("must begin with http:// or https://"),
        _ => return wrong(&format!("must begin with http:// or https://, as in http://{url}")),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return wrong("must not have a user or a password");
    }
    if path.contains(['?', '#']) {
        return wrong("must not have a query or a fragment");
    }
    // Some proxies put the path of a URL in the place of the prefix, and others in front of the whole path. For a lone
    // slash and the prefix / both are the same.
    if !(path.is_empty() || (path == "/" && prefix.is_empty())) {
        let hint = match (&url[url.len() - path.len()..], prefix) {
            ("/", prefix) => format!("'strip' takes {prefix} off the path"),
            (path, "") => format!("'replace={path}' puts it in front of the path"),
            (path, prefix) => format!("'replace={path}' puts it in the place of {prefix}"),
        };
        return wrong(&format!("must end behind the host and the port ({hint})"));
    }
    let Some(host) = authority::host(authority.as_bytes()) else {
        return wrong("must have a host, and perhaps a port from 1 to 65535, as in http://127.0.0.1:3000");
    };
    let port = match authority[host.len()..].strip_prefix(':') {
        None => None,
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => return wrong("must have a port from 1 to 65535, or none"),
            Ok(port) => Some(port),
        },
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok(Upstream::new(is_secured, bare, port))
}

fn host_field(host: &str) -> Result<HostField, String> {
    match host {
        "keep" => Ok(HostField::Keep),
        "upstream" => Ok(HostField::Upstream),
        _ if authority::host(host.as_bytes()).is_some() && !host.ends_with(':') => Ok(HostField::Name(host.into())),
        _ => Err(format!("host={host}: expected keep, upstream, or a name such as www.example.org")),
    }
}

fn balance(balance: &str) -> Result<Balance, String> {
    match (balance, balance.strip_prefix("hash=")) {
        ("round-robin", _) => Ok(Balance::RoundRobin),
        ("least-conn", _) => Ok(Balance::LeastConn),
        ("hash", _) => Ok(Balance::Hash(KeySource::Client)),
        (_, Some(field)) => FieldName::new(field)
            .map(|name| Balance::Hash(KeySource::Field(name)))
            .map_err(|_| format!("balance={balance}: expected the name of a field behind hash=")),
        _ => Err(format!("balance={balance}: expected round-robin, least-conn, hash or hash=FIELD")),
    }
}

/// The target of a health check: a path, perhaps with a query.
fn target(target: &str) -> Result<String, String> {
    let path = target.split('?').next().unwrap_or_default();
    let is_target = path.starts_with('/')
        && NormalPath::new(path.as_bytes()).as_bytes() == path.as_bytes()
        && target.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'#');
    if is_target { Ok(target.into()) } else { Err(format!("health={target}: expected a path, such as /healthz")) }
}

fn time(name: &str, value: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    duration(range)(value).map_err(|problem| format!("{name}={value}: {problem}"))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::service::proxy::route::UpstreamHost;

    #[test]
    fn without_options_there_are_defaults() {
        let route = parse("/api/=http://127.0.0.1:3000").unwrap();
        let expected = Route::new(None, "/api".into(), vec![Upstream::new(false, "127.0.0.1", Some(3000))]);
        assert_eq!(route, expected);
        assert_eq!((route.connect_timeout, route.response_timeout), (Duration::from_secs(3), Duration::from_secs(60)));
    }

    #[test]
    fn every_option_is_read() {
        let text = "WWW.Example.org./a/../caf\u{e9}=http://a:8080,HTTPS://[::1] replace=/v2/docs/ host=b.example:81 \
                    balance=hash=X-User  health=/healthz?deep=1 health-interval=500ms connect-timeout=1s \
                    response-timeout=2m idle-timeout=0s tunnel-timeout=24h forwarded proxy-protocol compress max=7 \
                    abort-on-close";
        let route = parse(text).unwrap();
        let ip = UpstreamHost::Address(IpAddr::V6(Ipv6Addr::LOCALHOST));
        let secured = Upstream { is_secured: true, host: ip, port: 443, authority: "[::1]".into() };
        let expected = Route {
            host: Some("www.example.org".into()),
            prefix: "/caf%C3%A9".into(),
            upstreams: vec![Upstream::new(false, "a", Some(8080)), secured],
            replacement: Some("/v2/docs".into()),
            host_field: HostField::Name("b.example:81".into()),
            balance: Balance::Hash(KeySource::Field(FieldName::from_static("X-User"))),
            health: Some(HealthCheck { target: "/healthz?deep=1".into(), interval: Duration::from_millis(500) }),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(120),
            idle_timeout: Duration::ZERO,
            tunnel_timeout: DAY,
            sends_forwarded: true,
            sends_proxy_header: true,
            compresses: true,
            connections_max: Some(7),
            aborts_on_close: true,
        };
        assert_eq!(route, expected);
        let of = |options: &str| parse(&format!("/a=http://a {options}")).unwrap();
        assert_eq!(of("strip").replacement.as_deref(), Some(""));
        assert_eq!(
            (of("host=keep").host_field, of("host=upstream").host_field),
            (HostField::Keep, HostField::Upstream)
        );
        assert_eq!(of("balance=round-robin").balance, Balance::RoundRobin);
        assert_eq!(of("balance=least-conn").balance, Balance::LeastConn);
        assert_eq!(of("balance=hash").balance, Balance::Hash(KeySource::Client));
        assert_eq!(of("health=/").health.unwrap().interval, Duration::from_secs(5));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        for (text, problem) in [
            ("", "expected [HOST]/PATH/=URL, such as /api/=http://127.0.0.1:3000"),
            ("http://127.0.0.1:3000", "expected [HOST]/PATH/=URL, such as /api/=http://127.0.0.1:3000"),
            ("api=http://a", "expected a path in front of the =, such as api/"),
            ("=http://a", "expected a path in front of the =, such as /"),
            ("*.example.org/=http://a", "the host *.example.org must be one name: leave it out for all hosts"),
            ("a:80/=http://a", "the host a:80 is not a name or an address without a port, such as www.example.org"),
            (
                "http://a/=http://b",
                "the host http: is not a name or an address without a port, such as www.example.org",
            ),
            ("/a?b/=http://a", "/a?b/ is not a path, such as /api/"),
            ("/%zz=http://a", "/%zz: a % in the path is not followed by two hexadecimal digits (RFC 3986 §2.1)"),
            ("/=", "expected a URL right behind the ="),
            ("/= http://a", "expected a URL right behind the ="),
            (
                "/=127.0.0.1:3000",
                "the URL 127.0.0.1:3000 must begin with http:// or https://, as in http://127.0.0.1:3000",
            ),
            ("/=ftp://a", "the URL ftp://a must begin with http:// or https://"),
            ("/=unix:/run/app", "the URL unix:/run/app names a Unix socket: expected http://HOST:PORT"),
            ("/=http://u:p@a", "the URL http://u:p@a must not have a user or a password"),
            ("/=http://a/?q", "the URL http://a/?q must not have a query or a fragment"),
            (
                "/api/=http://a/",
                "the URL http://a/ must end behind the host and the port ('strip' takes /api off the path)",
            ),
            (
                "/=http://a/V2/",
                "the URL http://a/V2/ must end behind the host and the port ('replace=/V2/' puts it in front of the path)",
            ),
            (
                "/a=http://a/b",
                "the URL http://a/b must end behind the host and the port ('replace=/b' puts it in the place of /a)",
            ),
            ("/=http://a:0", "the URL http://a:0 must have a port from 1 to 65535, or none"),
            ("/=http://a:", "the URL http://a: must have a port from 1 to 65535, or none"),
            (
                "/=http://a:65536",
                "the URL http://a:65536 must have a host, and perhaps a port from 1 to 65535, as in http://127.0.0.1:3000",
            ),
            ("/=http://a,http://A", "the URL http://A is there twice"),
            ("/=http://a,", "there is an empty URL beside a comma: http://a,"),
            ("/=http://a,,http://b", "there is an empty URL beside a comma: http://a,,http://b"),
            ("/=http://a, http://b", "no space may stand behind a comma between URLs"),
            ("/=http://a strip", "strip has no use at the path /: there is nothing to take off"),
            (
                "/a=http://a strip replace=/b",
                "the options strip and replace exclude each other: say what becomes of PATH once",
            ),
            ("/a=http://a max=1 max=2", "the option max has been said already"),
            ("/a=http://a strip=yes", "the option strip has no value"),
            ("/a=http://a health", "the option health needs a value, as in health=/healthz"),
            ("/a=http://a health-interval=5s", "health-interval needs health=/PATH"),
            ("/a=http://a health-interval", "the option health-interval needs a value, as in health-interval=5s"),
            ("/a=http://a health=x", "health=x: expected a path, such as /healthz"),
            ("/a=http://a host=a/b", "host=a/b: expected keep, upstream, or a name such as www.example.org"),
            ("/a=http://a balance=random", "balance=random: expected round-robin, least-conn, hash or hash=FIELD"),
            ("/a=http://a balance=hash=a:b", "balance=hash=a:b: expected the name of a field behind hash="),
            ("/a=http://a max=0", "max=0: expected a number from 1 to 1000000"),
            ("/a=http://a connect-timeout=3", "connect-timeout=3: expected a duration such as 10s or 500ms"),
            ("/a=http://a tunnel-timeout=25h", "tunnel-timeout=25h: expected 1ms to 24h"),
        ] {
            assert_eq!(parse(text).unwrap_err(), problem, "{text}");
        }
        let unknown = parse("/a=http://a timeout=3s").unwrap_err();
        assert!(unknown.starts_with("there is no option timeout: expected strip, replace, host, "), "{unknown}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r"\PC*|[a-z.]{0,3}/?[a-z%/.]{0,5}=(https?://)?[a-z0-9:/@\[\]ü]{0,8}( [a-z]{0,7}=?\PC{0,3}){0,2}") {
            if let Ok(route) = parse(&text) {
                prop_assert!(!route.upstreams.is_empty() && !route.prefix.ends_with('/'));
            }
        }
    }
}
