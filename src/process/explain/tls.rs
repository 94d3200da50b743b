//! What TLS would do for a client that asks for the host of the request, where a listener has it.

use std::net::IpAddr;

use crate::http::message::RequestHead;
use crate::net::tls::{CertificateFacts, LiveConfig, Offer, SelfSigned};
use crate::process::settings::Settings;
use crate::service::explanation::{Explanation, printable};

/// A configuration as the server would have it. `None` if no listener has TLS; an error is one line that says why the server
/// has none yet.
pub fn config(settings: &Settings) -> Option<Result<LiveConfig, String>> {
    if !settings.has_https() {
        return None;
    }
    let mut options = settings.tls_options();
    if let Some(Ok(directory)) = settings.tls.self_signed_directory() {
        let files = SelfSigned::files(&directory);
        if !files.certificate.exists() && options.pairs.is_empty() {
            let file = files.certificate.display();
            return Some(Err(format!("the server makes a certificate at its start, and keeps it in {file}")));
        }
        options.pairs.extend(files.certificate.exists().then_some(files));
    }
    Some(LiveConfig::load(options, &mut |_| {}).map_err(|mistake| mistake.to_string()))
}

/// Notes what a client gets before it can send the request, and what one gets that asks for another name.
pub fn note(config: &Result<LiveConfig, String>, name: Option<&str>, explanation: &mut Explanation) {
    let config = match config {
        Ok(config) => config,
        Err(why) => return explanation.note("tls", why),
    };
    let offer = config.offer(name);
    match (name, offer.is_known) {
        (Some(name), true) => explanation.note("tls", format_args!("for {name}, which a certificate has")),
        (Some(name), false) => explanation.note("tls", format_args!("for {name}, which no certificate has")),
        (None, _) => explanation.note("tls", "without a server name: a client sends none for an address (RFC 6066 §3)"),
    }
    note_certificates("certificate", &offer, explanation);
    let protocols = offer.protocols.join(", ");
    explanation.note("alpn", format_args!("{protocols}; whoever offers only others is refused (RFC 7301 §3.2)"));
    if offer.is_known {
        note_certificates("other names", &config.offer(None), explanation);
    }
}

fn note_certificates(label: &'static str, offer: &Offer, explanation: &mut Explanation) {
    let Some(certificates) = &offer.certificates else {
        return explanation.note(label, "none: refused with unrecognized_name (--tls-strict-sni; RFC 6066 §3)");
    };
    for (index, certificate) in certificates.iter().enumerate() {
        let (label, end) = if index == 0 { (label, "") } else { ("", ", if the client cannot verify the one before") };
        explanation.note(label, format_args!("{}{end}", told(certificate)));
    }
}

fn told(certificate: &CertificateFacts) -> String {
    let CertificateFacts { file, subject, names, not_after, .. } = certificate;
    let names = if names.is_empty() { "no DNS name".into() } else { names.join(", ") };
    let until = httpdate::fmt_http_date(*not_after);
    format!("{}, {}, for {names}, valid until {until}", file.display(), printable(subject.as_bytes()))
}

/// The server name that a client sends for this request: none for an IP address, and no dot at the end (RFC 6066 §3).
pub fn server_name_of(request: &RequestHead<'_>) -> Option<String> {
    let host = printable(request.authority().unwrap_or_default());
    server_name(&host).map(|name| name.strip_suffix('.').unwrap_or(name).to_owned())
}

/// The name in host [ ":" port ], if it is one.
fn server_name(host: &str) -> Option<&str> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_address = host.starts_with('[') || name.parse::<IpAddr>().is_ok();
    (!name.is_empty() && !is_address).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_sends_the_name_of_a_host_and_no_address() {
        for (host, name) in [
            ("a.example", Some("a.example")),
            ("a.example:8443", Some("a.example")),
            ("192.0.2.1", None),
            ("192.0.2.1:8443", None),
            ("[2001:db8::1]", None),
            ("[2001:db8::1]:8443", None),
            ("", None),
            (":8443", None),
        ] {
            assert_eq!(server_name(host), name, "{host}");
        }
    }
}
