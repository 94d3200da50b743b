//! What can be set about requests that are passed on to other servers.

mod route_text;

use std::path::{Path, PathBuf};

use clap::Args;

use super::usage::Objection;
use crate::net::tls;
use crate::service::proxy::route::Route;

/// What is passed on, and to whom.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Proxy")]
pub struct ProxySettings {
    /// Requests to pass on, and to whom
    #[arg(
        long,
        help = "Pass requests for [HOST]/PATH/ on to URL, such as --proxy '/api/=http://127.0.0.1:3000 strip'. \
                Several URLs, with commas between them, share the requests. Options stand behind them, with spaces \
                between them: strip (take the path off) | replace=/PATH/ (put another in its place) | host=keep, \
                upstream or NAME | balance=round-robin, least-conn, hash or hash=FIELD | health=/PATH | \
                health-interval=5s | connect-timeout=3s | response-timeout=60s | idle-timeout=4s | \
                tunnel-timeout=1h | forwarded | proxy-protocol | compress (what upstreams send) | \
                abort-on-close (drop requests whose client ends its direction) | max=N (connections to each URL). \
                Repeatable, or separated by semicolons; of those that fit, one with a HOST comes first, and then the \
                longest PATH",
        value_name = "[HOST]/PATH/=URL[,URL...][ OPTION...]",
        env = "TIDEMILL_PROXY",
        hide_env = true,
        value_delimiter = ';',
        value_parser = route_text::parse
    )]
    proxy: Vec<Route>,

    /// Certificates of those who issue certificates of https: upstreams, in PEM [default: those that the system trusts]
    #[arg(long, value_name = "FILE", env = "TIDEMILL_UPSTREAM_CA", hide_env = true)]
    upstream_ca: Option<PathBuf>,
}

impl ProxySettings {
    /// What no single value shows.
    pub(super) fn check(&self) -> Result<(), Objection> {
        for (index, route) in self.proxy.iter().enumerate() {
            let is_same = |other: &Route| (&other.host, &other.prefix) == (&route.host, &route.prefix);
            if self.proxy[..index].iter().any(is_same) {
                let problem = "there are two routes for it: one route may have several URLs, with commas between them";
                return Err(Objection::new("proxy", route, problem));
            }
            if let Some(upstream) = route.upstreams.iter().find(|upstream| upstream.is_secured)
                && !tls::IS_BUILT_IN
            {
                return Err(Objection::new("proxy", upstream, "expected http://: this build has no TLS"));
            }
        }
        Ok(())
    }

    /// The flags that say something and have no effect, without their dashes, and why.
    pub(super) fn without_effect(&self) -> Option<(&'static str, &'static str)> {
        let why = "no --proxy passes requests on to https:";
        (self.upstream_ca.is_some() && !self.has_secured_upstreams()).then_some(("upstream-ca", why))
    }

    /// The routes, in the order in which they were given.
    pub fn routes(&self) -> Vec<Route> {
        self.proxy.clone()
    }

    /// Whether any upstream speaks TLS.
    pub fn has_secured_upstreams(&self) -> bool {
        self.proxy.iter().flat_map(|route| &route.upstreams).any(|upstream| upstream.is_secured)
    }

    /// Whose word counts about who upstreams are; `None`: the system's.
    pub fn upstream_ca(&self) -> Option<&Path> {
        self.upstream_ca.as_deref()
    }
}

/// The route that `text` means in a route of a site whose paths begin with `prefix`: a URL and options for all of them, or the
/// same behind `/PATH/=` for some. `strips` and `compresses` are what the site's route says.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn route_of(text: &str, prefix: &[u8], strips: bool, compresses: Option<bool>) -> Result<Route, String> {
    let is_url = text.starts_with("http://") || text.starts_with("https://");
    let mut route = match is_url {
        true => route_text::parse_behind(None, String::from_utf8_lossy(prefix).into_owned(), text)?,
        false if text.contains('=') => route_text::parse(text)?,
        false => return Err("expected a URL such as http://127.0.0.1:3000, or /PATH/=URL for some paths".into()),
    };
    if let Some(host) = &route.host {
        return Err(format!("the host {host} belongs into the 'hosts' of a site"));
    }
    if strips && route.replacement.is_none() {
        route.replacement = Some(String::new());
    }
    route.compresses = compresses.unwrap_or(route.compresses);
    if !tls::IS_BUILT_IN && route.upstreams.iter().any(|upstream| upstream.is_secured) {
        return Err("expected http://: this build has no TLS".into());
    }
    Ok(route)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        proxy: ProxySettings,
    }

    fn read(flags: &[&str]) -> Result<ProxySettings, clap::Error> {
        Flags::try_parse_from([&["tidemill"], flags].concat()).map(|flags| flags.proxy)
    }

    fn routes(flags: &[&str]) -> Vec<String> {
        read(flags).unwrap().routes().iter().map(|route| format!("{route}={}", route.upstreams[0])).collect()
    }

    #[test]
    fn routes_may_be_repeated_and_separated_by_semicolons() {
        assert_eq!(routes(&[]), [""; 0]);
        let flags = ["--proxy", "/=http://a;b.example/api=http://b:1,http://c strip", "--proxy=/x/=http://d host=keep"];
        assert_eq!(routes(&flags), ["/=http://a", "b.example/api/=http://b:1", "/x/=http://d"]);
        assert!(read(&["--proxy", "/=http://a;"]).is_err());
    }

    #[test]
    fn a_place_has_one_route() {
        let objection = |flags: &[&str]| read(flags).unwrap().check().err().map(|objection| format!("{objection:?}"));
        let twice = objection(&["--proxy=/api=http://a", "--proxy", "/x/../%61pi/=http://b"]).expect("an objection");
        assert!(twice.contains("/api/") && twice.contains("there are two routes"), "{twice}");
        assert!(objection(&["--proxy=A.example/=http://a;a.example./=http://b"]).is_some());
        assert_eq!(objection(&["--proxy=/api=http://a;/=http://a;a/api=http://a"]), None);
    }

    #[test]
    fn https_needs_tls_and_the_authorities_need_https() {
        let secured = read(&["--proxy=/=http://a,https://b", "--upstream-ca", "ca.pem"]).unwrap();
        assert_eq!(secured.check().is_ok(), tls::IS_BUILT_IN);
        assert_eq!((secured.has_secured_upstreams(), secured.without_effect()), (true, None));
        assert_eq!(secured.upstream_ca(), Some(Path::new("ca.pem")));
        let plain = read(&["--proxy=/=http://a", "--upstream-ca", "ca.pem"]).unwrap();
        assert_eq!(plain.without_effect(), Some(("upstream-ca", "no --proxy passes requests on to https:")));
    }
}
