//! Ways out that not every system has: a word that more follows, and a file that goes from the page cache to the
//! socket. Everything here that asks for the operating system is in `os`.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

pub(super) use os::send_file;

/// How much of a file is copied at a time where the kernel does not send it, in bytes.
const COPY_BYTES: usize = 16 * 1024;

/// A TCP socket whose writes say that more follows at once (MSG_MORE). The kernel then holds back a packet that is not
/// full until the next write, and no longer than 200 ms.
pub(super) struct More<'s, S>(pub(super) &'s mut S);

impl<S: Write + AsFd> Write for More<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        os::write_more(self.0, &[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        os::write_more(self.0, slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// One read and one write, for files that the kernel does not send. What the socket does not take is read again.
fn copy_file<S: Write>(socket: &mut S, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    let mut buffer = [0; COPY_BYTES];
    let wanted = count.min(COPY_BYTES);
    match file.read_at(&mut buffer[..wanted], offset)? {
        0 => Ok(0),
        n => match socket.write(&buffer[..n])? {
            // 0 would say that the file ends.
            0 => Err(io::ErrorKind::WriteZero.into()),
            sent => Ok(sent),
        },
    }
}

#[cfg(target_os = "linux")]
mod os {
    use std::fs::File;
    use std::io::{self, IoSlice, Write};
    use std::os::fd::AsFd;

    use rustix::fs::sendfile;
    use rustix::io::Errno;
    use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};

    /// `Ok(0)`: the file has no byte at `offset`.
    pub(in super::super) fn send_file<S: Write + AsFd>(
        socket: &mut S,
        file: &File,
        offset: u64,
        count: usize,
    ) -> io::Result<usize> {
        let mut at = offset;
        match sendfile(&*socket, file, Some(&mut at), count) {
            // Not every file system's files can be sent.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => super::copy_file(socket, file, offset, count),
            sent => Ok(sent?),
        }
    }

    pub(super) fn write_more<S: AsFd>(socket: &S, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        Ok(match slices {
            [slice] => send(socket, slice, flags)?,
            slices => sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags)?,
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    use std::io::{self, IoSlice, Write};

    pub(in super::super) use super::copy_file as send_file;

    pub(super) fn write_more<S: Write>(socket: &mut S, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        socket.write_vectored(slices)
    }
}
