//! Starting TLS: the certificates, and the one for development.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::Bound;
use super::settings::Settings;
use crate::base::listener_role::ListenerRole;
use crate::net::listener::Address;
use crate::net::tls::{LiveConfig, SelfSigned, SessionKeys, TlsOptions, UpstreamTls};
use crate::service::https_redirect::HttpsRedirect;

/// What listeners with TLS need.
pub(super) struct Tls {
    pub(super) config: Arc<LiveConfig>,
    /// What a user needs to trust the certificate for development, if there is one, a line each.
    pub(super) lines: Vec<String>,
}

/// The configuration for TLS, if one of the `listeners` has it. The log has what the user should know about the
/// certificates. The error is one line for the user.
pub(super) fn start(settings: &Settings, listeners: &[Bound], keys: SessionKeys) -> Result<Option<Tls>, String> {
    let listeners: Vec<_> = listeners.iter().map(|(listener, role)| (listener.local_address(), *role)).collect();
    let Some((options, lines)) = options(settings, &listeners, keys)? else { return Ok(None) };
    let config = LiveConfig::load(options, &mut |line| log::warn!("{line}")).map_err(|mistake| mistake.to_string())?;
    Ok(Some(Tls { config: Arc::new(config), lines }))
}

/// What TLS is made of, if one of the `listeners` has it, and how to trust a certificate for development, a line each. Such a
/// certificate is made if there is to be one and it is not there. The error is one line for the user.
pub(super) fn options(
    settings: &Settings,
    listeners: &[(&Address, ListenerRole)],
    keys: SessionKeys,
) -> Result<Option<(TlsOptions, Vec<String>)>, String> {
    let https: Vec<&Address> =
        listeners.iter().filter(|(_, role)| *role == ListenerRole::Https).map(|(address, _)| *address).collect();
    let Some(first) = https.first() else { return Ok(None) };
    let (mut options, mut lines) = (TlsOptions { keys, ..settings.tls_options() }, Vec::new());
    if let Some(directory) = settings.tls.self_signed_directory() {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let names = names(&host, https.iter().copied());
        let made = SelfSigned::ensure(&directory?, &names, SystemTime::now())?;
        lines = how_to_trust(&made, first);
        options.pairs.push(made.files);
    }
    Ok(Some((options, lines)))
}

/// With what TLS to upstreams is made, if any has it. The error is one line for the user.
pub(super) fn upstreams(settings: &Settings, keys: SessionKeys) -> Result<Option<UpstreamTls>, String> {
    if !settings.has_secured_upstreams() {
        return Ok(None);
    }
    let authorities = settings.proxy.upstream_ca();
    UpstreamTls::load(authorities, keys).map(Some).map_err(|problem| match authorities {
        Some(file) => format!("cannot use --upstream-ca {}: {problem}", file.display()),
        None => format!("cannot speak TLS to upstreams: {problem}"),
    })
}

/// What plain listeners answer, if they are to redirect to the first of the `listeners` that has TLS.
pub(super) fn redirect<'a>(
    settings: &Settings,
    mut listeners: impl Iterator<Item = (&'a Address, ListenerRole)>,
) -> Option<HttpsRedirect> {
    let (first, _) = listeners.find(|(_, role)| *role == ListenerRole::Https)?;
    settings.tls.https_redirect.then(|| HttpsRedirect::new(first.port()))
}

/// The same before anything listens: a port that the kernel is to choose is not known.
pub(super) fn redirect_as_told(settings: &Settings) -> Option<HttpsRedirect> {
    let first = settings.addresses().into_iter().find(|listen| listen.role == ListenerRole::Https)?;
    settings.tls.https_redirect.then(|| HttpsRedirect::new(first.address.port()))
}

/// What a certificate for development is for: this machine by all its names, and the addresses of its listeners.
fn names<'a>(host: &str, listeners: impl Iterator<Item = &'a Address>) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(String::from).into();
    let host = host.to_ascii_lowercase();
    let is_label = |label: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(is_allowed)
    };
    let is_host_name = host.split('.').all(is_label) && host.parse::<IpAddr>().is_err();
    names.extend(is_host_name.then_some(host));
    names.extend(listeners.filter_map(|address| match address {
        Address::Tcp(address) if !address.ip().is_unspecified() => Some(address.ip().to_string()),
        _ => None,
    }));
    let mut seen = Vec::new();
    names.retain(|name| {
        !seen.contains(name) && {
            seen.push(name.clone());
            true
        }
    });
    names
}

/// The fingerprint, in the form that browsers and openssl show, and a request that works.
fn how_to_trust(made: &SelfSigned, listener: &Address) -> Vec<String> {
    let certificate = &made.files.certificate;
    let digits = made.fingerprint.to_ascii_uppercase();
    let bytes: Vec<&str> = (0..digits.len()).step_by(2).filter_map(|at| digits.get(at..at + 2)).collect();
    let whole = if made.is_new { "new self-signed certificate" } else { "self-signed certificate" };
    let target = match listener {
        // Most know their own machine as localhost, and that by this address alone.
        Address::Tcp(address) if !address.ip().is_unspecified() && address.ip() != Ipv4Addr::LOCALHOST => {
            format!("https://{address}/")
        }
        Address::Unix(path) => format!("--unix-socket {} https://localhost/", quoted(path)),
        address => format!("https://localhost:{}/", address.port().unwrap_or_default()),
    };
    vec![
        format!("{whole} {}, SHA-256 {}", certificate.display(), bytes.join(":")),
        format!("curl --cacert {} {target}", quoted(certificate)),
    ]
}

/// The path as a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:,@%".contains(&byte);
    match text.bytes().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_for_development_is_for_this_machine_by_all_its_names() {
        let addresses = ["127.0.0.1:1", "192.0.2.1:2", "[2001:db8::1]:3", ":4", "0.0.0.0:5", "localhost:6", "unix:/x"];
        let addresses = addresses.map(|text| text.parse::<Address>().unwrap());
        let local = ["localhost", "127.0.0.1", "::1"];
        assert_eq!(
            names("Mill.example", addresses.iter()),
            [&local[..], &["mill.example", "192.0.2.1", "2001:db8::1"]].concat()
        );
        for host in ["", "localhost", "my_host", "a..b", "mühle", "127.0.0.1", &"x".repeat(64)] {
            assert_eq!(names(host, addresses[..1].iter()), local, "{host}");
        }
    }

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(quoted(Path::new("/home/a/.local/state/x.pem")), "/home/a/.local/state/x.pem");
        assert_eq!(quoted(Path::new("/a b/it's$x")), r"'/a b/it'\''s$x'");
    }
}
