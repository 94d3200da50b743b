//! What can be set about HTTPS.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use super::choice::{ALONE, Choice, choice};
use super::quantity::parse_duration;
use super::settings::switch;
use super::usage::Objection;
use crate::net::capture::Tap;
use crate::net::listener::ListenAddress;
use crate::net::tls::{
    self, ClientAuthentication, ClientOptions, FileKind, LiveConfig, Mistake, PairFiles, SessionKeys, TlsOptions,
};

/// The server's certificates, and what is asked of clients.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "HTTPS")]
pub struct TlsSettings {
    /// Certificate of an https: listener, with its chain, in PEM; repeatable: clients get the one with the name that they
    /// ask for, or the first. It is read again when it changes, and on HUP
    #[arg(long, value_name = "FILE", env = "TIDEMILL_TLS_CERT", hide_env = true, value_delimiter = ',')]
    tls_cert: Vec<PathBuf>,

    /// Key of the certificate, in PEM; repeatable, in the order of the certificates
    #[arg(long, value_name = "FILE", env = "TIDEMILL_TLS_KEY", hide_env = true, value_delimiter = ',')]
    tls_key: Vec<PathBuf>,

    /// Refuse clients that ask for no name, or for one that no certificate has
    #[arg(long, env = "TIDEMILL_TLS_STRICT_SNI", hide_env = true, value_parser = switch)]
    tls_strict_sni: bool,

    /// Serve with a certificate for development, which is made and kept in DIR
    #[arg(
        long,
        help = "Serve with a certificate for development, which is made and kept in DIR [default: \
                $XDG_STATE_HOME/tidemill, or ~/.local/state/tidemill]",
        value_name = "DIR", env = "TIDEMILL_TLS_SELF_SIGNED", hide_env = true, num_args = 0..=1,
        require_equals = true, default_missing_value = ALONE, value_parser = choice("", directory)
    )]
    tls_self_signed: Option<Choice<Option<PathBuf>>>,

    /// Certificates of those who issue certificates of clients, in PEM: clients are asked for theirs
    #[arg(long, value_name = "FILE", env = "TIDEMILL_TLS_CLIENT_CA", hide_env = true)]
    tls_client_ca: Option<PathBuf>,

    /// Whether clients may come without a certificate: optional or required [default: required]
    #[arg(long, value_name = "HOW", env = "TIDEMILL_TLS_CLIENT", hide_env = true)]
    tls_client: Option<ClientAuthentication>,

    /// Append the keys of all sessions to FILE, those with upstreams too, for Wireshark; whoever reads it can decrypt them
    #[arg(long, value_name = "FILE", env = "TIDEMILL_TLS_KEY_LOG", hide_env = true)]
    tls_key_log: Option<PathBuf>,

    /// Tell browsers to use HTTPS only, for MAX-AGE: a duration, or a number of seconds [default: 31536000, a year]
    #[arg(
        long, value_name = "MAX-AGE", env = "TIDEMILL_HSTS", hide_env = true, num_args = 0..=1,
        require_equals = true, default_missing_value = ALONE, value_parser = choice(YEAR, max_age)
    )]
    hsts: Option<Choice<u32>>,

    /// Redirect requests on http: listeners to https:
    #[arg(long, env = "TIDEMILL_HTTPS_REDIRECT", hide_env = true, value_parser = switch)]
    pub https_redirect: bool,

    /// The certificates of sites, with their keys.
    #[arg(skip)]
    pub(super) of_sites: Vec<PairFiles>,
}

/// `None` is the default one.
fn directory(name: OsString) -> Result<Option<PathBuf>, &'static str> {
    Ok(Some(PathBuf::from(name)).filter(|name| !name.as_os_str().is_empty()))
}

/// Where a user's programs keep what should survive a restart (XDG Base Directory Specification). A relative path there is
/// to be ignored.
fn state_directory(xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let state = xdg.and_then(absolute).or_else(|| Some(home.and_then(absolute)?.join(".local/state")));
    Some(state?.join("tidemill"))
}

/// What browsers keep in mind without a value, in seconds.
const YEAR: &str = "31536000";

/// A time in whole seconds (RFC 6797 §6.1.1). A number without a unit is one, as in the field.
fn max_age(text: OsString) -> Result<u32, &'static str> {
    let text = text.to_string_lossy();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if is_number { text.parse().ok() } else { parse_duration(&text).map(|time| time.as_secs()) };
    let seconds = seconds.and_then(|seconds: u64| u32::try_from(seconds).ok());
    seconds.ok_or("expected a duration such as 24h, or a number of seconds such as 31536000")
}

impl TlsSettings {
    /// What no single value shows. `https` is a listener that needs a certificate, if there is one.
    pub(super) fn check(&self, https: Option<&ListenAddress>) -> Result<(), Objection> {
        if let Some(listen) = https {
            self.check_is_there().map_err(|problem| Objection::new("listen", listen, problem))?;
        }
        if self.tls_cert.len() != self.tls_key.len() {
            let (certificates, keys) = (self.tls_cert.len(), self.tls_key.len());
            let id = if certificates > keys { "tls_cert" } else { "tls_key" };
            let problem = format!("needs its pair: there are {certificates} of --tls-cert and {keys} of --tls-key");
            return Err(Objection::to_argument(id, problem));
        }
        if let Some(Err(problem)) = self.self_signed_directory() {
            return Err(Objection::to_argument("tls_self_signed", problem));
        }
        if self.tls_client.is_some() && self.tls_client_ca.is_none() {
            return Err(Objection::to_argument(
                "tls_client",
                "needs --tls-client-ca, which says whose certificates count",
            ));
        }
        let names_files = !self.tls_cert.is_empty() || !self.of_sites.is_empty() || self.tls_client_ca.is_some();
        if tls::IS_BUILT_IN && names_files {
            LiveConfig::load(self.options(), &mut |_| {}).map_err(|mistake| objection(&mistake))?;
        }
        Ok(())
    }

    /// Whether TLS can be spoken; otherwise what is missing.
    pub(super) fn check_is_there(&self) -> Result<(), &'static str> {
        let has_files = !self.tls_cert.is_empty() || !self.of_sites.is_empty();
        let has_certificate = has_files || self.self_signed_directory().is_some();
        match (tls::IS_BUILT_IN, has_certificate) {
            (false, _) => Err("cannot be served: this build has no TLS"),
            (true, false) => {
                Err("needs a certificate: --tls-cert FILE --tls-key FILE, or --tls-self-signed for development")
            }
            (true, true) => Ok(()),
        }
    }

    /// The flags that say something about listeners, without their dashes.
    pub(super) fn flags_of_listeners(&self) -> Vec<&'static str> {
        let given = [
            ("tls-cert", !self.tls_cert.is_empty()),
            ("tls-self-signed", self.self_signed_directory().is_some()),
            ("tls-strict-sni", self.tls_strict_sni),
            ("tls-client-ca", self.tls_client_ca.is_some()),
            ("hsts", self.hsts().is_some()),
            ("https-redirect", self.https_redirect),
        ];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(flag, _)| flag).collect()
    }

    /// The files of keys.
    pub(super) fn key_files(&self) -> impl Iterator<Item = &Path> {
        self.tls_key.iter().chain(self.of_sites.iter().map(|pair| &pair.key)).map(PathBuf::as_path)
    }

    /// Whether the keys of sessions are to be logged.
    pub(super) fn has_key_log(&self) -> bool {
        self.tls_key_log.is_some()
    }

    /// Where a certificate for development is kept, if there is to be one.
    pub(super) fn self_signed_directory(&self) -> Option<Result<PathBuf, &'static str>> {
        let named = self.tls_self_signed.as_ref().and_then(Choice::value)?;
        let default = || state_directory(env::var_os("XDG_STATE_HOME"), env::var_os("HOME"));
        let needs = "needs a directory, as in --tls-self-signed=DIR: neither XDG_STATE_HOME nor HOME is set";
        Some(named.clone().or_else(default).ok_or(needs))
    }

    /// How long browsers are to use HTTPS only, in seconds, if they are told so.
    pub fn hsts(&self) -> Option<u32> {
        self.hsts.as_ref().and_then(Choice::value).copied()
    }

    /// What TLS is made of, without HTTP/2 and without those who get the keys of sessions.
    pub fn options(&self) -> TlsOptions {
        let pairs = self.tls_cert.iter().zip(&self.tls_key);
        let pair =
            |(certificate, key): (&PathBuf, &PathBuf)| PairFiles { certificate: certificate.clone(), key: key.clone() };
        let authentication = self.tls_client.unwrap_or(ClientAuthentication::Required);
        let clients = self.tls_client_ca.clone().map(|authorities| ClientOptions { authorities, authentication });
        let strict_sni = self.tls_strict_sni;
        let pairs = pairs.map(pair).chain(self.of_sites.iter().cloned());
        TlsOptions { pairs: pairs.collect(), strict_sni, clients, ..TlsOptions::default() }
    }

    /// Opens the key log, if there is to be one, and gives the keys of sessions to the `capture` as well. The error is one line
    /// for the user.
    pub(super) fn session_keys(&self, capture: Option<Tap>) -> Result<SessionKeys, String> {
        SessionKeys::open(self.tls_key_log.as_deref(), capture, &mut |line| log::warn!("{line}"))
            .map_err(|mistake| mistake.to_string())
    }
}

fn objection(mistake: &Mistake) -> Objection {
    let id = match mistake.kind {
        FileKind::Certificate => "tls_cert",
        FileKind::Key => "tls_key",
        FileKind::ClientAuthorities => "tls_client_ca",
        FileKind::KeyLog => "tls_key_log",
    };
    Objection::new(id, mistake.file.display(), mistake.problem.clone())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        tls: TlsSettings,
    }

    fn read(flags: &[&str]) -> Result<TlsSettings, clap::Error> {
        Flags::try_parse_from([&["tidemill"], flags].concat()).map(|flags| flags.tls)
    }

    #[test]
    fn the_time_for_browsers_is_in_seconds() {
        let hsts = |flag: &str| read(&[flag]).map(|tls| tls.hsts()).map_err(|_| ());
        assert_eq!(read(&[]).unwrap().hsts(), None);
        for (flag, seconds) in [
            ("--hsts", Some(31_536_000)),
            ("--hsts=true", Some(31_536_000)),
            ("--hsts=off", None),
            ("--hsts=", None),
            ("--hsts=300", Some(300)),
            ("--hsts=0s", Some(0)),
            ("--hsts=24h", Some(86_400)),
            ("--hsts=1500ms", Some(1)),
            ("--hsts=4294967295", Some(u32::MAX)),
        ] {
            assert_eq!(hsts(flag), Ok(seconds), "{flag}");
        }
        for flag in ["--hsts=-1", "--hsts=1d", "--hsts=4294967296", "--hsts=+5", "--hsts=1; preload"] {
            assert_eq!(hsts(flag), Err(()), "{flag}");
        }
    }

    #[test]
    fn clients_need_a_certificate_unless_it_is_optional() {
        let authentication =
            |flags: &[&str]| read(flags).unwrap().options().clients.map(|clients| clients.authentication);
        let (optional, required) = (ClientAuthentication::Optional, ClientAuthentication::Required);
        assert_eq!(authentication(&[]), None);
        assert_eq!(authentication(&["--tls-client-ca", "x"]), Some(required));
        assert_eq!(authentication(&["--tls-client-ca", "x", "--tls-client", "required"]), Some(required));
        assert_eq!(authentication(&["--tls-client-ca", "x", "--tls-client", "optional"]), Some(optional));
        assert!(read(&["--tls-client", "perhaps"]).is_err());
        assert!(read(&["--tls-client", "optional"]).unwrap().check(None).is_err());
    }

    #[test]
    fn the_default_directory_is_the_users() {
        let directory =
            |xdg: Option<&str>, home: Option<&str>| state_directory(xdg.map(OsString::from), home.map(OsString::from));
        for (xdg, home, expected) in [
            (Some("/state"), Some("/home/a"), Some("/state/tidemill")),
            (None, Some("/home/a"), Some("/home/a/.local/state/tidemill")),
            (Some(""), Some("/home/a"), Some("/home/a/.local/state/tidemill")),
            (Some("relative"), Some("/home/a"), Some("/home/a/.local/state/tidemill")),
            (None, Some(""), None),
            (None, None, None),
        ] {
            assert_eq!(directory(xdg, home), expected.map(PathBuf::from), "{xdg:?} {home:?}");
        }
        let named = |flags: &[&str]| read(flags).unwrap().self_signed_directory();
        assert_eq!(named(&["--tls-self-signed=x"]), Some(Ok("x".into())));
        assert_eq!(named(&["--tls-self-signed=off"]), None);
        assert_eq!(named(&[]), None);
    }

    #[test]
    fn pairs_keep_their_order() {
        let tls = read(&["--tls-key", "1k,2k", "--tls-cert", "1c", "--tls-cert=2c"]).unwrap();
        let pair = |number| PairFiles { certificate: format!("{number}c").into(), key: format!("{number}k").into() };
        assert_eq!(tls.options().pairs, [pair(1), pair(2)]);
    }
}
