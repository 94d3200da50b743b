//! Telling the service manager how far we are: a datagram for each step (sd_notify(3)).

use std::env;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// We listen, and serve from now on.
pub const READY: &str = "READY=1";
/// We were told to stop, and finish what is in flight.
pub const STOPPING: &str = "STOPPING=1";

/// The service manager, if there is one that wants to know.
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

impl ServiceManager {
    /// The one that `NOTIFY_SOCKET` names.
    pub fn from_environment() -> ServiceManager {
        let name = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = name.and_then(|name| {
            let opened = open(&name);
            opened.map_err(|error| complain(&name, &error)).ok()
        });
        ServiceManager { socket }
    }

    /// Says `state`. A manager that cannot be told does not keep us from serving.
    pub fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            log::warn!("cannot tell the service manager {state}: {error}");
        }
    }
}

fn complain(name: &OsStr, error: &io::Error) {
    log::warn!("cannot tell the service manager at NOTIFY_SOCKET={:?}: {error}", name);
}

/// A socket, and where to send. It does not wait for a manager that reads too slowly.
fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = address(name)?;
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// A path, or, behind an @, a name in Linux' abstract namespace (unix(7)).
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_encoded_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name),
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        _ => Err(io::Error::new(ErrorKind::Unsupported, "expected a path, or @ and a name")),
    }
}
