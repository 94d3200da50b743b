//! What can be set about serving a folder.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::quantity::{number, size};
use super::settings::switch;
use super::usage::Refusal;
use crate::base::disk::{Links, Root};
use crate::base::job_pool::JobPoolLimits;
use crate::http::fields::{CACHE_CONTROL, FieldName, FieldValue};
use crate::http::media_type::MediaTypes;
use crate::service::static_files::Site;

const GIB: u64 = 1 << 30;

/// Jobs that may wait for a thread. Requests for the same thing wait for one job together.
const QUICK_JOBS_MAX: usize = 4096;
const SLOW_JOBS_MAX: usize = 256;

/// Fields that a response gets from elsewhere, so that setting them here would send two.
const NOT_CONFIGURABLE: [&str; 14] = [
    "accept-ranges",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "keep-alive",
    "last-modified",
    "server",
    "trailer",
    "transfer-encoding",
    "vary",
];

/// How a folder is served.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Serving ROOT")]
pub struct FileSettings {
    /// List directories that have no index file
    #[arg(short, long, env = "TIDEMILL_BROWSE", hide_env = true, value_parser = switch)]
    pub browse: bool,

    /// File that is served for its directory
    #[arg(long, value_name = "NAME", env = "TIDEMILL_INDEX", hide_env = true, default_value = "index.html")]
    pub index: OsString,

    /// Serve this file for paths that do not exist, for single-page applications [default: index.html]
    #[arg(
        long, value_name = "FILE", env = "TIDEMILL_SPA", hide_env = true,
        num_args = 0..=1, require_equals = true, default_missing_value = "index.html"
    )]
    pub spa: Option<OsString>,

    /// Serve and list names that begin with a dot
    #[arg(long, env = "TIDEMILL_HIDDEN", hide_env = true, value_parser = switch)]
    pub hidden: bool,

    /// Follow symbolic links out of ROOT; without this, only those that stay beneath it
    #[arg(long, env = "TIDEMILL_FOLLOW_SYMLINKS", hide_env = true, value_parser = switch, conflicts_with = "no_symlinks")]
    pub follow_symlinks: bool,

    /// Follow no symbolic links at all
    #[arg(long, env = "TIDEMILL_NO_SYMLINKS", hide_env = true, value_parser = switch)]
    pub no_symlinks: bool,

    /// More media types: lines of a type and its extensions, as in /etc/mime.types
    #[arg(long, value_name = "FILE", env = "TIDEMILL_MIME_TYPES", hide_env = true)]
    pub mime_types: Option<PathBuf>,

    /// Field to add to every file; repeatable
    #[arg(long = "header", value_name = "NAME: VALUE", env = "TIDEMILL_HEADER", hide_env = true, value_parser = field)]
    pub headers: Vec<(FieldName, FieldValue)>,

    /// Cache-Control of every file, such as 'max-age=3600'
    #[arg(long, value_name = "VALUE", env = "TIDEMILL_CACHE_CONTROL", hide_env = true, value_parser = value)]
    pub cache_control: Option<FieldValue>,

    /// Memory for files in use and for compressed forms of them; 0 keeps nothing, and compresses nothing
    #[arg(
        long, value_name = "SIZE", env = "TIDEMILL_FILE_CACHE", hide_env = true,
        default_value = "32MiB", value_parser = size(0..=64 * GIB)
    )]
    pub file_cache: usize,

    /// Threads that wait for the disk and for answers of the kernel, 1 to 64
    #[arg(
        long, value_name = "N", env = "TIDEMILL_IO_THREADS", hide_env = true,
        default_value = "4", value_parser = number(1..=64)
    )]
    pub io_threads: u32,
}

fn field(text: &str) -> Result<(FieldName, FieldValue), String> {
    const EXPECTED: &str = "expected a field such as 'X-Frame-Options: DENY'";
    let (name, value) = text.split_once(':').ok_or(EXPECTED)?;
    if NOT_CONFIGURABLE.iter().any(|fixed| name.eq_ignore_ascii_case(fixed)) {
        return Err(format!("expected another field: {name} is set by the server itself"));
    }
    let name = FieldName::new(name).map_err(|_| EXPECTED)?;
    Ok((name, FieldValue::new(value).map_err(|_| EXPECTED)?))
}

fn value(text: &str) -> Result<FieldValue, String> {
    FieldValue::new(text).map_err(|_| "expected a value such as 'max-age=3600'".into())
}

impl FileSettings {
    /// What no single value shows.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        for (flag, name) in [("--index <NAME>", Some(&self.index)), ("--spa[=<FILE>]", self.spa.as_ref())] {
            let Some(name) = name else { continue };
            let parts = name.as_bytes().split(|byte| *byte == b'/');
            if parts.into_iter().any(|part| matches!(part, b"" | b"." | b"..")) {
                let name = name.to_string_lossy();
                return Err(Refusal::usage(format!(
                    "invalid value '{name}' for '{flag}': expected a file beneath ROOT, such as index.html"
                )));
            }
        }
        self.media_types().map(|_| ()).map_err(|problem| {
            let file = self.mime_types.as_deref().unwrap_or(Path::new("")).display();
            Refusal::usage(format!("invalid value '{file}' for '--mime-types <FILE>': {problem}"))
        })
    }

    fn media_types(&self) -> Result<MediaTypes, String> {
        let Some(file) = &self.mime_types else { return Ok(MediaTypes::default()) };
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read it: {error}"))?;
        MediaTypes::with_overrides(&text).map_err(|error| error.to_string())
    }

    /// The threads these settings mean.
    pub(super) fn job_limits(&self) -> JobPoolLimits {
        JobPoolLimits { threads: self.io_threads as usize, quick_max: QUICK_JOBS_MAX, slow_max: SLOW_JOBS_MAX }
    }

    /// The site these settings make of `root`.
    pub(super) fn site(&self, root: &Path) -> io::Result<Site> {
        let cache_control = self.cache_control.iter().map(|value| (CACHE_CONTROL, value.clone()));
        let fields: Arc<[_]> = cache_control.chain(self.headers.iter().cloned()).collect();
        Ok(Site {
            root: Root::open(root, self.links())?,
            media_types: self.media_types().map_err(io::Error::other)?,
            index: self.index.as_bytes().to_vec(),
            spa: self.spa.as_ref().map(|file| file.as_bytes().to_vec()),
            browse: self.browse,
            show_hidden: self.hidden,
            fields,
            cache_bytes_max: self.file_cache,
        })
    }

    fn links(&self) -> Links {
        match (self.follow_symlinks, self.no_symlinks) {
            (true, _) => Links::Follow,
            (_, true) => Links::Refuse,
            _ => Links::Beneath,
        }
    }
}
