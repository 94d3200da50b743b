//! What can be set about the things that responses tell of their requests.

use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::choice::{ALONE, Choice, choice};
use super::settings::INSPECTING;
use crate::connection::{TOLD_NAME_BYTES_MAX, Telling};
use crate::http::fields::FieldName;
use crate::http::message::is_owned_by_the_protocol;
use crate::observe::request_id::RequestIds;
use crate::observe::server_timing::ServerTiming;

/// The field of identifiers if no other one is named.
const REQUEST_ID: &str = "X-Request-Id";
/// What stands for all requests where a field may be named.
const ALL: &str = "*";

/// Identifiers and times.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = INSPECTING)]
pub struct TellingSettings {
    /// Give every request an identifier, in the response's field HEADER and in the access log. One that a --trusted-proxy
    /// sends in this field is kept [HEADER: X-Request-Id]
    #[arg(
        long, value_name = "HEADER", env = "TIDEMILL_REQUEST_ID", hide_env = true, num_args = 0..=1,
        require_equals = true, default_missing_value = ALONE, value_parser = choice(REQUEST_ID, id_field)
    )]
    request_id: Option<Choice<FieldName>>,

    /// Tell in Server-Timing how long the request took until its response began: in every response, or only if the request
    /// has FIELD and comes from this machine or a --trusted-proxy
    #[arg(
        long, value_name = "FIELD", env = "TIDEMILL_SERVER_TIMING", hide_env = true, num_args = 0..=1,
        require_equals = true, default_missing_value = ALONE, value_parser = choice(ALL, server_timing)
    )]
    server_timing: Option<Choice<ServerTiming>>,
}

fn id_field(name: OsString) -> Result<FieldName, String> {
    let name = field_name(name)?;
    // These have a meaning that an identifier would change. Others are the business of whoever names them.
    let others = ["Server-Timing", "Strict-Transport-Security", "Upgrade"];
    let is_another = others.iter().any(|other| name.as_str().eq_ignore_ascii_case(other));
    match is_another || is_owned_by_the_protocol(name.as_str().as_bytes()) {
        true => Err(format!("expected a field that has no other meaning, such as {REQUEST_ID}")),
        false => Ok(name),
    }
}

fn server_timing(word: OsString) -> Result<ServerTiming, String> {
    if word == ALL { Ok(ServerTiming::Always) } else { field_name(word).map(ServerTiming::OnRequest) }
}

fn field_name(name: OsString) -> Result<FieldName, String> {
    let name = name.into_string().ok().and_then(|name| FieldName::new(name).ok());
    name.filter(|name| name.as_str().len() <= TOLD_NAME_BYTES_MAX)
        .ok_or_else(|| format!("expected the name of a field of at most {TOLD_NAME_BYTES_MAX} bytes (RFC 9110 §5.1)"))
}

impl TellingSettings {
    /// What responses tell, if anything.
    pub(super) fn telling(&self) -> Option<Telling> {
        let field = self.request_id.as_ref().and_then(Choice::value);
        let telling = Telling {
            request_ids: field.map(|field| RequestIds::new(field.clone(), &start())),
            server_timing: self.server_timing.as_ref().and_then(Choice::value).cloned(),
        };
        (telling.request_ids.is_some() || telling.server_timing.is_some()).then_some(telling)
    }
}

/// What the identifiers of this run begin with: the second in which it began, and something random for those that begin in
/// the same one.
fn start() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:08x}{:08x}", since.as_secs(), RandomState::new().hash_one(()) as u32)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        telling: TellingSettings,
        root: Option<PathBuf>,
    }

    fn read(flags: &[&str]) -> Result<Flags, clap::Error> {
        Flags::try_parse_from([&["tidemill"], flags].concat())
    }

    fn field_of(flags: &[&str]) -> Option<String> {
        let ids = read(flags).unwrap().telling.telling()?.request_ids?;
        Some(ids.field().as_str().to_owned())
    }

    #[test]
    fn nothing_is_told_unless_somebody_wants_it() {
        for flags in [&[][..], &["--request-id=off", "--server-timing=false"]] {
            assert!(read(flags).unwrap().telling.telling().is_none(), "{flags:?}");
        }
    }

    #[test]
    fn a_field_needs_an_equals_sign_so_that_the_root_stays_the_root() {
        let flags = read(&["--request-id", "site"]).unwrap();
        assert_eq!(flags.root, Some("site".into()));
        assert_eq!(field_of(&["--request-id"]).as_deref(), Some("X-Request-Id"));
        assert_eq!(field_of(&["--request-id=Trace-Id"]).as_deref(), Some("Trace-Id"));
        let timing = |flags: &[&str]| read(flags).unwrap().telling.telling().and_then(|telling| telling.server_timing);
        assert!(matches!(timing(&["--server-timing"]), Some(ServerTiming::Always)));
        assert!(matches!(timing(&["--server-timing=X-Timing"]), Some(ServerTiming::OnRequest(_))));
    }

    #[test]
    fn what_is_no_field_or_has_a_meaning_of_its_own_is_refused() {
        let long = format!("--request-id={}", "a".repeat(TOLD_NAME_BYTES_MAX + 1));
        for flag in
            ["--request-id=a b", "--request-id=content-length", "--request-id=Date", "--request-id=upgrade", &long]
        {
            assert!(read(&[flag]).is_err(), "{flag}");
        }
        assert!(read(&["--server-timing=a:b"]).is_err());
    }

    #[test]
    fn two_runs_begin_differently() {
        assert_ne!(start(), start());
    }
}
