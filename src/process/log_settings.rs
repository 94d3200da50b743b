//! What can be set about the access log.

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::cause;
use super::choice::{ALONE, Choice, choice};
use super::log_file::{LogFile, Place};
use crate::event_loop::AccessLog;
use crate::observe::access_log::{Format, Formatter};

/// Whether, where and how requests are noted.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Access log")]
pub struct LogSettings {
    /// Write a line for every request to stdout, or to FILE, which the signal USR1 reopens
    #[arg(
        long, value_name = "FILE", env = "TIDEMILL_ACCESS_LOG", hide_env = true, num_args = 0..=1,
        require_equals = true, default_missing_value = ALONE, value_parser = choice("-", place)
    )]
    access_log: Option<Choice<Place>>,

    /// Format of the access log: common, combined, json or pretty [default: pretty on a terminal, otherwise combined]
    #[arg(long, value_name = "FORMAT", env = "TIDEMILL_LOG_FORMAT", hide_env = true)]
    log_format: Option<Format>,
}

fn place(name: OsString) -> Result<Place, Infallible> {
    Ok(if name == "-" { Place::Stdout } else { Place::File(PathBuf::from(name)) })
}

impl LogSettings {
    /// Where it goes, if one is wanted.
    pub(super) fn place(&self) -> Option<&Place> {
        self.access_log.as_ref().and_then(Choice::value)
    }

    /// Opens the log, if one is wanted. The error is one line for the user.
    pub fn open(&self) -> Result<Option<AccessLog>, String> {
        let Some(place) = self.place() else { return Ok(None) };
        let file = LogFile::start(place.clone())
            .map_err(|error| format!("cannot open the access log {}: {}", place.name(), cause(&error)))?;
        let format = self.log_format.unwrap_or(if file.is_terminal() { Format::Pretty } else { Format::Combined });
        let colours = file.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Ok(Some(AccessLog::new(Formatter::new(format, colours), Box::new(file))))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        log: LogSettings,
        root: Option<PathBuf>,
    }

    fn read(flags: &[&str]) -> Flags {
        Flags::try_parse_from([&["tidemill"], flags].concat()).unwrap()
    }

    #[test]
    fn a_file_needs_an_equals_sign_so_that_the_root_stays_the_root() {
        assert_eq!(read(&[]).log.place(), None);
        let flags = read(&["--access-log", "site"]);
        assert_eq!((flags.log.place(), flags.root), (Some(&Place::Stdout), Some("site".into())));
        assert_eq!(read(&["--access-log=-"]).log.place(), Some(&Place::Stdout));
        assert_eq!(read(&["--access-log=x.log"]).log.place(), Some(&Place::File("x.log".into())));
        assert_eq!(read(&["--log-format", "json"]).log.log_format, Some(Format::Json));
    }

    #[test]
    fn a_word_for_true_or_false_says_with_or_without() {
        for word in ["true", "YES", "on", "1"] {
            assert_eq!(read(&[&format!("--access-log={word}")]).log.place(), Some(&Place::Stdout), "{word}");
        }
        for word in ["false", "No", "off", "0", ""] {
            assert_eq!(read(&[&format!("--access-log={word}")]).log.place(), None, "{word}");
        }
        assert_eq!(read(&["--access-log=./false"]).log.place(), Some(&Place::File("./false".into())));
    }
}
