//! What can be set about serving a folder.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use clap::Args;

use super::choice::{ALONE, Choice, choice};
use super::descriptors::Shares;
use super::quantity::{number, size};
use super::settings::{SERVING_ROOT, switch};
use super::usage::{Given, Objection};
use crate::base::disk::{Links, NotServed, RootPath};
use crate::base::job_pool::JobPoolLimits;
use crate::base::regular_file;
use crate::http::fields::FieldValue;
use crate::http::media_type::{MediaTypes, parse_media_type};
use crate::http::negotiate::Coding;
use crate::service::static_files::field_rules::{FieldRule, FieldRules};
use crate::service::static_files::{Site, sibling_extension};

const GIB: u64 = 1 << 30;

/// Jobs that may wait for a thread. Requests for the same thing wait for one job together.
const QUICK_JOBS_MAX: usize = 4096;
const SLOW_JOBS_MAX: usize = 256;

/// The longest file of media types, in bytes. That of a system has some 70 kB.
const MIME_TYPES_BYTES_MAX: u64 = 16 << 20;

/// How a folder is served.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = SERVING_ROOT)]
pub struct FileSettings {
    /// List directories that have no index file
    #[arg(short, long, env = "TIDEMILL_BROWSE", hide_env = true, value_parser = switch)]
    pub browse: bool,

    /// Files that are served for their directory, the first that is there; repeatable, or separated by commas
    #[arg(
        long,
        value_name = "NAME",
        env = "TIDEMILL_INDEX",
        hide_env = true,
        default_value = "index.html",
        value_delimiter = ','
    )]
    pub index: Vec<OsString>,

    /// Serve this file for paths that do not exist, unless they are loaded as assets, for single-page applications
    /// [default: index.html]
    #[arg(
        long, value_name = "FILE", env = "TIDEMILL_SPA", hide_env = true, num_args = 0..=1,
        require_equals = true, default_missing_value = ALONE, value_parser = choice("index.html", Ok::<_, Infallible>)
    )]
    pub spa: Option<Choice<OsString>>,

    /// Serve /about from about.html, and redirect /about.html and /index.html to the addresses without
    #[arg(long, env = "TIDEMILL_TRY_HTML", hide_env = true, value_parser = switch)]
    pub try_html: bool,

    /// Serve and list names that begin with a dot
    #[arg(long, env = "TIDEMILL_HIDDEN", hide_env = true, value_parser = switch)]
    pub hidden: bool,

    /// Follow symbolic links out of ROOT; without this, only those that stay beneath it
    #[arg(long, env = "TIDEMILL_FOLLOW_SYMLINKS", hide_env = true, value_parser = switch, conflicts_with = "no_symlinks")]
    pub follow_symlinks: bool,

    /// Follow no symbolic links at all
    #[arg(long, env = "TIDEMILL_NO_SYMLINKS", hide_env = true, value_parser = switch)]
    pub no_symlinks: bool,

    /// More media types: lines of a type and its extensions, as in /etc/mime.types, or of a type and /NAME
    #[arg(long, value_name = "FILE", env = "TIDEMILL_MIME_TYPES", hide_env = true)]
    pub mime_types: Option<PathBuf>,

    /// Media type of files whose name says nothing, such as text/plain [default: application/octet-stream]
    #[arg(
        long, value_name = "TYPE", env = "TIDEMILL_DEFAULT_TYPE", hide_env = true, value_parser = parse_media_type
    )]
    pub default_type: Option<FieldValue>,

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
}

/// What all folders share.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = SERVING_ROOT)]
pub struct DiskSettings {
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

/// Directives of responses (RFC 9111 §5.2.2, 5861, 8246).
const KNOWN_DIRECTIVES: [&str; 13] = [
    "immutable",
    "max-age",
    "must-revalidate",
    "must-understand",
    "no-cache",
    "no-store",
    "no-transform",
    "private",
    "proxy-revalidate",
    "public",
    "s-maxage",
    "stale-if-error",
    "stale-while-revalidate",
];

fn cache_control(text: &str) -> Result<FieldRules, String> {
    if text == "hashed" {
        return Ok(FieldRules::for_hashed_assets());
    }
    const EXPECTED: &str = "expected a value such as 'max-age=3600', or hashed";
    let value = FieldValue::new(text).map_err(|_| EXPECTED)?;
    // Directives of others are allowed beside a known one (RFC 9111 §5.2.3). Alone they are likely to be a slip.
    let name = |directive: &str| directive.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
    match text.split(',').any(|directive| KNOWN_DIRECTIVES.contains(&&*name(directive))) {
        true => Ok(FieldRules::of_cache_control(value)),
        false => Err(EXPECTED.into()),
    }
}

/// The directory of a file, and its name there.
fn split(file: &Path) -> io::Result<(&Path, Option<&OsStr>)> {
    let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(io::Error::other("it has no name"));
    };
    let is_here = directory.as_os_str().is_empty();
    Ok((if is_here { Path::new(".") } else { directory }, Some(name)))
}

impl DiskSettings {
    /// The threads these settings mean.
    pub(super) fn job_limits(&self) -> JobPoolLimits {
        JobPoolLimits {
            threads: self.io_threads as usize,
            quick_max: QUICK_JOBS_MAX,
            slow_max: SLOW_JOBS_MAX,
            ..JobPoolLimits::default()
        }
    }
}

impl FileSettings {
    /// What no single value shows.
    pub(super) fn check(&self) -> Result<(), Objection> {
        let names = self.index.iter().map(|name| ("index", name)).chain(self.spa().map(|page| ("spa", page)));
        for (id, name) in names {
            let mut parts = name.as_bytes().split(|byte| *byte == b'/');
            if parts.any(|part| matches!(part, b"" | b"." | b"..")) {
                let problem = "expected a file beneath ROOT, such as index.html";
                return Err(Objection::new(id, name.to_string_lossy(), problem));
            }
        }
        self.media_types().map(|_| ()).map_err(|problem| {
            let file = self.mime_types.as_deref().unwrap_or(Path::new("")).display();
            Objection::new("mime_types", file, problem)
        })
    }

    /// Files that were named and are not there. They may come later: a site may be built while it is served.
    pub(super) fn missing(&self, root: &Path, given: &Given<'_>) -> Vec<String> {
        if !root.is_dir() {
            return Vec::new();
        }
        // A coded form of it will do.
        let is_there = |name: &OsString| {
            let coded = |coding| OsString::from_vec([name.as_bytes(), sibling_extension(coding)].concat());
            Coding::ALL.into_iter().any(|coding| root.join(coded(coding)).is_file())
        };
        let mut notices = Vec::new();
        if let Some(page) = self.spa().filter(|page| !is_there(page)) {
            notices.push(format!("--spa: ROOT has no file {}: paths that do not exist get 404", page.display()));
        }
        if given.has("index") && !self.index.iter().any(is_there) {
            let names: Vec<_> = self.index.iter().map(|name| name.to_string_lossy()).collect();
            let without = if self.browse { "a listing" } else { "404" };
            notices.push(format!("--index: ROOT has no file {}: its path / gets {without}", names.join(" or ")));
        }
        notices
    }

    /// The page for paths that do not exist, if one is wanted.
    pub(super) fn spa(&self) -> Option<&OsString> {
        self.spa.as_ref().and_then(Choice::value)
    }

    /// What the file of media types says, if there is one.
    pub(super) fn mime_types_file(&self) -> io::Result<Option<Vec<u8>>> {
        self.mime_types.as_deref().map(|file| regular_file::read(file, MIME_TYPES_BYTES_MAX)).transpose()
    }

    fn media_types(&self) -> Result<MediaTypes, String> {
        let mut media_types = MediaTypes::default();
        if let Some(text) = self.mime_types_file().map_err(|error| format!("cannot read it: {error}"))? {
            // What is not UTF-8 is in comments: a type and an extension that somebody asks for are ASCII.
            let text = String::from_utf8_lossy(&text);
            media_types = media_types.with_overrides(&text).map_err(|error| error.to_string())?;
        }
        Ok(match &self.default_type {
            Some(media_type) => media_types.with_default(media_type.clone()),
            None => media_types,
        })
    }

    /// Which fields are added to what.
    pub(super) fn field_rules(&self) -> FieldRules {
        let mut field_rules = self.cache_control.clone().unwrap_or_default();
        field_rules.extend(self.headers.iter().cloned());
        field_rules
    }

    /// The site these settings make of `root`, a directory or a single file, with these shares of descriptors and memory.
    pub(super) fn site(&self, root: &Path, shares: &Shares, cache_bytes_max: usize) -> io::Result<Site> {
        let (directory, file) = if root.is_file() { split(root)? } else { (root, None) };
        Ok(Site {
            root: self.open(directory, file)?.with_files_max(shares.files),
            only: file.map(|name| name.as_bytes().to_vec()),
            media_types: self.media_types().map_err(io::Error::other)?,
            index: self.index.iter().map(|name| name.as_bytes().to_vec()).collect(),
            spa: self.spa().map(|file| file.as_bytes().to_vec()),
            try_html: self.try_html,
            browse: self.browse,
            // The name of a single file was chosen by whoever serves it.
            show_hidden: self.hidden || file.is_some(),
            compresses: true,
            field_rules: self.field_rules(),
            cache_bytes_max,
            cached_files_max: shares.cached_files,
        })
    }

    /// Opens what is served. A link on the way to ROOT is followed, so also one that is ROOT, unless none may be.
    ///
    /// # Errors
    /// The system's; also if the single `file` cannot be read.
    fn open(&self, directory: &Path, file: Option<&OsStr>) -> io::Result<RootPath> {
        let Some(file) = file else { return RootPath::new(directory, self.links()) };
        let links = if self.no_symlinks { Links::Refuse } else { Links::Follow };
        let root = RootPath::new(directory, links)?;
        match root.open().and_then(|root| root.find(file.as_bytes())) {
            Ok(_) => Ok(root),
            Err(NotServed::NotFound) if self.no_symlinks => Err(io::Error::other("it is a symbolic link")),
            Err(not_served) => Err(io::Error::other(not_served.to_string())),
        }
    }

    fn links(&self) -> Links {
        match (self.follow_symlinks, self.no_symlinks) {
            (true, _) => Links::Follow,
            (_, true) => Links::Refuse,
            _ => Links::Beneath,
        }
    }
}
