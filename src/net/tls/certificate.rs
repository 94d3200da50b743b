//! What stands in a certificate (RFC 5280).

use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// A certificate that was read. What RFC 5280 asks of whoever issues certificates is not checked: clients do that.
pub(super) struct Certificate(CertificateInner<Raw>);

impl Certificate {
    /// # Errors
    /// What is wrong with it, in a few words.
    pub(super) fn read(der: &CertificateDer<'_>) -> Result<Certificate, String> {
        CertificateInner::from_der(der).map(Certificate).map_err(|error| error.to_string())
    }

    /// The DNS names that it is for, in lower case. The common name is none (RFC 9525 §2).
    pub(super) fn dns_names(&self) -> Vec<String> {
        let names = self.alternative_names().into_iter();
        let dns = names.filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
            _ => None,
        });
        dns.collect()
    }

    /// Whether it is for nobody: it has no name that a client could look for.
    pub(super) fn is_nameless(&self) -> bool {
        self.alternative_names().is_empty()
    }

    /// Whether `name`, a DNS name or an IP address, is among its names. A wildcard is not asked.
    pub(super) fn is_for(&self, name: &str) -> bool {
        let address = name.parse::<IpAddr>().map(|address| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        });
        self.alternative_names().iter().any(|other| match (&address, other) {
            (Ok(address), GeneralName::IpAddress(other)) => address == other.as_bytes(),
            (Err(_), GeneralName::DnsName(other)) => other.as_str().eq_ignore_ascii_case(name),
            _ => false,
        })
    }

    fn alternative_names(&self) -> Vec<GeneralName> {
        let extension = self.0.tbs_certificate().get_extension::<SubjectAltName>();
        extension.ok().flatten().map(|(_, names)| names.0).unwrap_or_default()
    }

    pub(super) fn subject(&self) -> String {
        self.0.tbs_certificate().subject().to_string()
    }

    pub(super) fn issuer(&self) -> String {
        self.0.tbs_certificate().issuer().to_string()
    }

    /// Whether the name of its issuer is the subject of `other`. The signature is not checked.
    pub(super) fn names_as_issuer(&self, other: &Certificate) -> bool {
        self.0.tbs_certificate().issuer() == other.0.tbs_certificate().subject()
    }

    pub(super) fn is_self_issued(&self) -> bool {
        self.names_as_issuer(self)
    }

    pub(super) fn not_before(&self) -> SystemTime {
        self.0.tbs_certificate().validity().not_before.to_system_time()
    }

    pub(super) fn not_after(&self) -> SystemTime {
        self.0.tbs_certificate().validity().not_after.to_system_time()
    }
}

impl fmt::Display for Certificate {
    /// Its subject, or, if that is empty, its first name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.subject();
        match self.dns_names().first() {
            Some(name) if subject.is_empty() => f.write_str(name),
            _ => f.write_str(&subject),
        }
    }
}
