//! A connection to an admin listener.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::PATIENCE;
use crate::net::listener::Address;

/// A connection on which something was asked. What is read is the answer.
pub(in crate::process) enum Link {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Link {
    /// Asks for this target. With HTTP/1.0, the answer is not chunked and ends with the connection. The server may keep silent for
    /// [`PATIENCE`].
    pub(super) fn asking(admin: &Address, target: &str) -> io::Result<Link> {
        Link::sending(admin, &format!("GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n"), PATIENCE)
    }

    /// Sends this request. The server may keep silent for so long.
    pub(in crate::process) fn sending(admin: &Address, request: &str, patience: Duration) -> io::Result<Link> {
        let link = match admin {
            Address::Tcp(address) => Link::Tcp(TcpStream::connect(address)?),
            Address::Localhost(port) => Link::Tcp(TcpStream::connect(("localhost", *port))?),
            Address::Unix(path) => Link::Unix(UnixStream::connect(path)?),
        };
        match &link {
            Link::Tcp(stream) => {
                stream.set_read_timeout(Some(patience)).and_then(|()| { stream }.write_all(request.as_bytes()))
            }
            Link::Unix(stream) => {
                stream.set_read_timeout(Some(patience)).and_then(|()| { stream }.write_all(request.as_bytes()))
            }
        }?;
        Ok(link)
    }

    /// From now on the server may keep silent for as long as it likes.
    pub(super) fn wait_for_ever(&self) -> io::Result<()> {
        match self {
            Link::Tcp(stream) => stream.set_read_timeout(None),
            Link::Unix(stream) => stream.set_read_timeout(None),
        }
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Link::Tcp(stream) => stream.read(buffer),
            Link::Unix(stream) => stream.read(buffer),
        }
    }
}
