//! What can be set about the capture.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::quantity::size;
use super::{Bound, cause};
use crate::base::listener_role::ListenerRole;
use crate::net::capture::{Capture, CaptureOptions, Interface};

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Whether and where what connections read and write is captured.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Inspecting")]
pub struct CaptureSettings {
    /// Capture what connections read and write to FILE, for Wireshark, with the keys of TLS; USR1 begins it anew
    #[arg(long, value_name = "FILE", env = "TIDEMILL_PCAPNG", hide_env = true)]
    pcapng: Option<PathBuf>,

    /// Size of the capture on disk, 1MiB to 1TiB: at half of it, FILE becomes FILE.1, and FILE begins anew
    #[arg(
        long, value_name = "SIZE", env = "TIDEMILL_PCAPNG_SIZE", hide_env = true, default_value = "64MiB",
        value_parser = size(MIB..=TIB)
    )]
    pcapng_size: usize,
}

impl CaptureSettings {
    /// Whether there is a capture.
    pub(super) fn is_on(&self) -> bool {
        self.pcapng.is_some()
    }

    /// Begins the capture, if one is wanted. The error is one line for the user.
    pub(super) fn start(
        &self,
        listeners: &[Bound],
        has_upstreams: bool,
        root: Option<&Path>,
    ) -> Result<Option<Capture>, String> {
        let Some(path) = &self.pcapng else { return Ok(None) };
        if root.is_some_and(|root| is_beneath(path, root)) {
            return Err(format!(
                "cannot write the capture {}: it would be served, because it is in ROOT",
                path.display()
            ));
        }
        let interface = |(listener, role): &Bound| listener.interface(*role);
        let of_upstreams = Interface { name: "upstreams".into(), role: ListenerRole::Upstream };
        let of_listeners = listeners.iter().filter(|(_, role)| role.is_for_everyone()).map(interface);
        let options = CaptureOptions {
            path: path.clone(),
            bytes_max: self.pcapng_size as u64,
            program: concat!("tidemill ", env!("CARGO_PKG_VERSION")).into(),
            interfaces: of_listeners.chain(has_upstreams.then_some(of_upstreams)).collect(),
        };
        let name = path.display();
        let capture =
            Capture::start(options).map_err(|error| format!("cannot write the capture {name}: {}", cause(&error)))?;
        log::warn!("{name}: it gets what all connections say, and the keys of TLS: whoever reads it can read them");
        if fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0) {
            log::warn!("{name}: other users of this machine may read or write it (chmod 600 forbids it)");
        }
        Ok(Some(capture))
    }
}

/// Whether the file that `path` names, which may not be there yet, lies in the folder `root`.
fn is_beneath(path: &Path, root: &Path) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(folder), Ok(root)) = (folder.canonicalize(), root.canonicalize()) else { return false };
    folder.starts_with(root)
}
