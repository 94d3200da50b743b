//! What can be set about serving a folder.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::descriptors::Shares;
use super::quantity::{number, size};
use super::settings::switch;
use super::usage::Refusal;
use crate::base::disk::{Links, Root};
use crate::base::job_pool::JobPoolLimits;
use crate::http::fields::FieldValue;
use crate::http::media_type::MediaTypes;
use crate::service::static_files::Site;
use crate::service::static_files::field_rules::{FieldRule, FieldRules};

const GIB: u64 = 1 << 30;

/// Jobs that may wait for a thread. Requests for the same thing wait for one job together.
const QUICK_JOBS_MAX: usize = 4096;
const SLOW_JOBS_MAX: usize = 256;

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

    /// Field to add to every answer, or to those that a pattern such as '*.css' or '/docs/**' before it names; repeatable
    #[arg(
        long = "header", value_name = "[PATTERN ]NAME: VALUE", env = "TIDEMILL_HEADER", hide_env = true,
        value_parser = rule
    )]
    pub headers: Vec<FieldRule>,

    /// Cache-Control of every file, such as 'max-age=3600'; 'hashed' keeps names with a hash for a year, and asks for all
    /// others each time
    #[arg(long, value_name = "VALUE", env = "TIDEMILL_CACHE_CONTROL", hide_env = true, value_parser = cache_control)]
    pub cache_control: Option<FieldRules>,

    /// Memory for files in use and for compressed forms of them; 0 keeps nothing, and compresses nothing, neither files
    /// nor what is produced
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

fn rule(text: &str) -> Result<FieldRule, String> {
    FieldRule::new(text).map_err(|error| error.to_string())
}

fn cache_control(text: &str) -> Result<FieldRules, String> {
    if text == "hashed" {
        return Ok(FieldRules::for_hashed_assets());
    }
    let value = FieldValue::new(text).map_err(|_| "expected a value such as 'max-age=3600'")?;
    Ok(FieldRules::of_cache_control(value))
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
    pub(super) fn site(&self, root: &Path, shares: &Shares) -> io::Result<Site> {
        let mut field_rules = self.cache_control.clone().unwrap_or_default();
        field_rules.extend(self.headers.iter().cloned());
        Ok(Site {
            root: Root::open(root, self.links())?.with_files_max(shares.files),
            media_types: self.media_types().map_err(io::Error::other)?,
            index: self.index.as_bytes().to_vec(),
            spa: self.spa.as_ref().map(|file| file.as_bytes().to_vec()),
            browse: self.browse,
            show_hidden: self.hidden,
            field_rules,
            cache_bytes_max: self.file_cache,
            cached_files_max: shares.cached_files,
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
