//! Ways to send that not every system has: telling the kernel that more follows, and sending a file from the page cache.
//! Everything here that depends on the operating system is in `os`.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

pub(super) use os::{acknowledge, hold_unsent, send_file, write};

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
pub(super) fn copy_file<S: Write>(socket: &mut S, file: &File, offset: u64, count: usize) -> io::Result<usize> {
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
    use rustix::net::sockopt::set_tcp_quickack;
    use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};
    use socket2::SockRef;

    /// How many unsent bytes the kernel holds before a write would block. Without this bound it takes megabytes from us, and
    /// a client that stops reading holds them (decision 005).
    const UNSENT_BYTES_MAX: u32 = 128 * 1024;

    /// Takes that bound away for bulk (decision 010), or sets it. True: it took a system call.
    pub(in super::super) fn hold_unsent<S: AsFd>(socket: &S, without_bound: bool) -> io::Result<bool> {
        SockRef::from(socket).set_tcp_notsent_lowat(if without_bound { u32::MAX } else { UNSENT_BYTES_MAX })?;
        Ok(true)
    }

    /// Has an acknowledgement that is put off sent at once (tcp(7), TCP_QUICKACK). True: it took a system call.
    pub(in super::super) fn acknowledge<S: AsFd>(socket: &S) -> io::Result<bool> {
        set_tcp_quickack(socket, true)?;
        Ok(true)
    }

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

    pub(in super::super) fn write<S: AsFd>(socket: &S, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(socket, bytes, SendFlags::NOSIGNAL)?)
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

    pub(in super::super) fn hold_unsent<S>(_: &S, _: bool) -> io::Result<bool> {
        Ok(false)
    }

    pub(in super::super) fn acknowledge<S>(_: &S) -> io::Result<bool> {
        Ok(false)
    }

    pub(in super::super) fn write<S: Write>(socket: &mut S, bytes: &[u8]) -> io::Result<usize> {
        socket.write(bytes)
    }

    pub(super) fn write_more<S: Write>(socket: &mut S, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        socket.write_vectored(slices)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn source() -> File {
        File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap()
    }

    #[test]
    fn copying_sends_what_sending_would() {
        let content = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
        assert!(content.len() > COPY_BYTES, "the file shows more than one copy");
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        for (offset, count) in [(0, 10), (7, 3), (1, COPY_BYTES), (0, usize::MAX), (content.len() - 5, 100)] {
            let n = copy_file(&mut ours, &source(), offset as u64, count).unwrap();
            assert_eq!(n, count.min(COPY_BYTES).min(content.len() - offset));
            let mut received = vec![0; n];
            theirs.read_exact(&mut received).unwrap();
            assert_eq!(received, content[offset..][..n]);
        }
        assert_eq!(copy_file(&mut ours, &source(), content.len() as u64, 1).unwrap(), 0, "the end");
    }

    #[test]
    fn a_full_socket_blocks_a_copy_and_takes_none_for_an_end() {
        let (mut ours, _theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let error = loop {
            match copy_file(&mut ours, &source(), 0, COPY_BYTES) {
                Ok(n) => assert!(n > 0),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_that_the_kernel_does_not_send_is_copied() {
        // Its content is made when it is read, so there is no page to send.
        let unsendable = File::open("/proc/self/cmdline").unwrap();
        let content = std::fs::read("/proc/self/cmdline").unwrap();
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let n = send_file(&mut ours, &unsendable, 0, 4).unwrap();
        let mut received = vec![0; n];
        theirs.read_exact(&mut received).unwrap();
        assert_eq!((n, received.as_slice()), (4, &content[..4]));
    }
}
