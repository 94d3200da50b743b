//! An accepted connection's bytes: one type for TCP and Unix sockets.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use rustix::io::ioctl_fionread;
use rustix::net::{RecvFlags, recv};
use socket2::SockRef;

use super::capture::CapturedSocket;
use super::torture::TorturedSocket;
use super::{Io, PeerProgress, Socket, outgoing, sock_diag};
use crate::base::peer::canonical;

/// One accepted connection.
#[derive(Debug)]
pub enum Stream {
    /// Over IPv4 or IPv6.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
    /// Either of these, whose reads and writes are recorded.
    Captured(Box<CapturedSocket<Stream>>),
    /// Any of these, tortured.
    Tortured(Box<TorturedSocket<Stream>>),
}

impl Stream {
    /// What the selector registers.
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Stream::Tcp(socket) => socket,
            Stream::Unix(socket) => socket,
            Stream::Captured(socket) => socket.socket().source(),
            Stream::Tortured(socket) => socket.socket().source(),
        }
    }
}

impl Socket for Stream {
    fn on_named(&mut self, id: u64) {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => {}
            Stream::Captured(socket) => socket.on_named(id),
            Stream::Tortured(socket) => socket.on_named(id),
        }
    }

    fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(socket) => socket.local_addr().ok().map(canonical),
            Stream::Unix(_) => None,
            Stream::Captured(socket) => socket.local_address(),
            Stream::Tortured(socket) => socket.local_address(),
        }
    }

    fn read(&mut self, space: [&mut [u8]; 2]) -> io::Result<Io> {
        match self {
            Stream::Tcp(socket) => read_from(&mut Direct(socket), space),
            Stream::Unix(socket) => read_from(&mut Direct(socket), space),
            Stream::Captured(socket) => socket.read(space),
            Stream::Tortured(socket) => socket.read(space),
        }
    }

    fn write(&mut self, bytes: [&[u8]; 2], more: bool) -> io::Result<Io> {
        match self {
            Stream::Tcp(socket) if more => write_to(&mut outgoing::More(socket), bytes),
            Stream::Tcp(socket) => write_to(&mut Direct(socket), bytes),
            // There are no packets to fill.
            Stream::Unix(socket) => write_to(&mut Direct(socket), bytes),
            Stream::Captured(socket) => socket.write(bytes, more),
            Stream::Tortured(socket) => socket.write(bytes, more),
        }
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Io> {
        debug_assert!(count > 0, "sending nothing tells nothing");
        match self {
            Stream::Tcp(socket) => send_to(socket, file, offset, count),
            Stream::Unix(socket) => send_to(socket, file, offset, count),
            Stream::Captured(socket) => socket.send_file(file, offset, count),
            Stream::Tortured(socket) => socket.send_file(file, offset, count),
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Stream::Unix(socket) => socket.shutdown(Shutdown::Write),
            Stream::Captured(socket) => socket.shutdown_write(),
            Stream::Tortured(socket) => socket.shutdown_write(),
        }
    }

    fn hold_unsent(&mut self, without_bound: bool) -> io::Result<bool> {
        match self {
            Stream::Tcp(socket) => outgoing::hold_unsent(socket, without_bound),
            Stream::Unix(_) => Ok(false),
            Stream::Captured(socket) => socket.hold_unsent(without_bound),
            Stream::Tortured(socket) => socket.hold_unsent(without_bound),
        }
    }

    fn acknowledge(&mut self) -> io::Result<bool> {
        match self {
            Stream::Tcp(socket) => outgoing::acknowledge(socket),
            Stream::Unix(_) => Ok(false),
            Stream::Captured(socket) => socket.acknowledge(),
            Stream::Tortured(socket) => socket.acknowledge(),
        }
    }

    fn peer_progress(&self) -> Option<io::Result<PeerProgress>> {
        match self {
            Stream::Tcp(socket) => Some(peer_progress(socket)),
            Stream::Unix(_) => None,
            Stream::Captured(socket) => socket.peer_progress(),
            Stream::Tortured(socket) => socket.peer_progress(),
        }
    }

    fn unread(&self) -> io::Result<u64> {
        match self {
            Stream::Tcp(socket) => Ok(ioctl_fionread(socket)?),
            Stream::Unix(socket) => Ok(ioctl_fionread(socket)?),
            Stream::Captured(socket) => socket.unread(),
            Stream::Tortured(socket) => socket.unread(),
        }
    }

    fn take_error(&mut self) -> io::Result<()> {
        let error = match self {
            Stream::Tcp(socket) => socket.take_error()?,
            Stream::Unix(socket) => socket.take_error()?,
            Stream::Captured(socket) => return socket.take_error(),
            Stream::Tortured(socket) => return socket.take_error(),
        };
        error.map_or(Ok(()), Err)
    }

    fn abort_on_close(&mut self) -> io::Result<()> {
        match self {
            // SO_LINGER of zero seconds: close() drops what is queued and sends RST instead of FIN.
            Stream::Tcp(socket) => SockRef::from(&*socket).set_linger(Some(Duration::ZERO)),
            // There is nothing to abort: what is queued is the peer's to read, and goes when the peer goes.
            Stream::Unix(_) => Ok(()),
            Stream::Captured(socket) => socket.abort_on_close(),
            Stream::Tortured(socket) => socket.abort_on_close(),
        }
    }
}

fn peer_progress(socket: &TcpStream) -> io::Result<PeerProgress> {
    sock_diag::peer_progress(socket.local_addr()?, socket.peer_addr()?)
}

/// A socket whose plain calls do not go through the C library. There, in a process with threads, each of them is a point at
/// which the thread may be cancelled, and takes 50 instructions more than the call itself.
struct Direct<'s, S>(&'s mut S);

impl<S: Read + AsFd> Read for Direct<'_, S> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&*self.0, space, RecvFlags::empty())?.0)
    }

    fn read_vectored(&mut self, spaces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(spaces)
    }
}

impl<S: Write + AsFd> Write for Direct<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        outgoing::write(self.0, bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A read that does not fill the space has emptied the kernel's queue. The exceptions harm only who causes them: a
/// read also stops short at urgent data (TCP) and at passed descriptors (Unix), and such a peer waits until it sends
/// more or its deadline comes.
fn read_from(socket: &mut impl Read, [front, back]: [&mut [u8]; 2]) -> io::Result<Io> {
    let room = front.len() + back.len();
    debug_assert!(room > 0, "without room, the end of input cannot be told from a full buffer");
    loop {
        // The plain call is the cheaper one, and the common one: most rings have their free space in one piece.
        let result = match back.is_empty() {
            true => socket.read(front),
            false => socket.read_vectored(&mut [IoSliceMut::new(front), IoSliceMut::new(back)]),
        };
        return match result {
            Ok(0) => Ok(Io::Eof),
            Ok(n) if n < room => Ok(Io::Drained(n)),
            Ok(n) => Ok(Io::Moved(n)),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => would_block_is_no_error(error),
        };
    }
}

fn write_to(socket: &mut impl Write, [front, back]: [&[u8]; 2]) -> io::Result<Io> {
    debug_assert!(front.len() + back.len() > 0, "writing nothing tells nothing");
    loop {
        let result = match back.is_empty() {
            true => socket.write(front),
            false => socket.write_vectored(&[IoSlice::new(front), IoSlice::new(back)]),
        };
        return match result {
            // No stream socket answers so to bytes it was given. It must not pass for WouldBlock: that waits for an
            // event which only a full send buffer promises.
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            Ok(n) => Ok(Io::Moved(n)),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => would_block_is_no_error(error),
        };
    }
}

fn send_to<S: Write + AsFd>(socket: &mut S, file: &File, offset: u64, count: usize) -> io::Result<Io> {
    loop {
        return match outgoing::send_file(socket, file, offset, count) {
            Ok(0) => Ok(Io::Eof),
            Ok(n) => Ok(Io::Moved(n)),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => would_block_is_no_error(error),
        };
    }
}

fn would_block_is_no_error(error: io::Error) -> io::Result<Io> {
    match error.kind() {
        ErrorKind::WouldBlock => Ok(Io::WouldBlock),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    /// Answers each call with the next result.
    struct Script(Vec<io::Result<usize>>);

    impl Script {
        fn next(&mut self) -> io::Result<usize> {
            self.0.remove(0)
        }
    }

    impl Read for Script {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.next()
        }
        fn read_vectored(&mut self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
            assert_eq!(slices.len(), 2);
            self.next()
        }
    }

    impl Write for Script {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.next()
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn read(results: Vec<io::Result<usize>>) -> io::Result<Io> {
        let (mut front, mut back) = ([0; 4], [0; 2]);
        let mut script = Script(results);
        let io = read_from(&mut script, [&mut front, &mut back]);
        assert!(script.0.is_empty(), "every scripted result was used");
        io
    }

    #[test]
    fn a_read_says_whether_there_may_be_more() {
        assert_eq!(read(vec![Ok(6)]).unwrap(), Io::Moved(6));
        assert_eq!(read(vec![Ok(5)]).unwrap(), Io::Drained(5));
        assert_eq!(read(vec![Ok(0)]).unwrap(), Io::Eof);
        assert_eq!(read(vec![Err(ErrorKind::WouldBlock.into())]).unwrap(), Io::WouldBlock);
        assert_eq!(read(vec![Err(ErrorKind::Interrupted.into()), Ok(1)]).unwrap(), Io::Drained(1));
        assert_eq!(read(vec![Err(ErrorKind::ConnectionReset.into())]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_write_never_passes_nothing_for_a_full_buffer() {
        let write = |results| write_to(&mut Script(results), [b"abc", b""]);
        assert_eq!(write(vec![Ok(3)]).unwrap(), Io::Moved(3));
        assert_eq!(write(vec![Ok(1)]).unwrap(), Io::Moved(1));
        assert_eq!(write(vec![Err(ErrorKind::WouldBlock.into())]).unwrap(), Io::WouldBlock);
        assert_eq!(write(vec![Err(ErrorKind::Interrupted.into()), Ok(2)]).unwrap(), Io::Moved(2));
        assert_eq!(write(vec![Ok(0)]).unwrap_err().kind(), ErrorKind::WriteZero);
    }

    /// Waits until there is something to read, and says how much.
    fn unread(stream: &Stream) -> u64 {
        let fd = match stream {
            Stream::Tcp(socket) => socket.as_fd(),
            Stream::Unix(socket) => socket.as_fd(),
            Stream::Captured(_) | Stream::Tortured(_) => unreachable!("it is as accepted"),
        };
        poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], None).unwrap();
        stream.unread().unwrap()
    }

    #[test]
    fn the_kernel_tells_how_much_is_unread() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut tcp_client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let tcp = TcpStream::from_std(listener.accept().unwrap().0);
        let (unix, mut unix_client) = UnixStream::pair().unwrap();
        let clients: [(Stream, &mut dyn Write); 2] =
            [(Stream::Tcp(tcp), &mut tcp_client), (Stream::Unix(unix), &mut unix_client)];
        for (mut stream, client) in clients {
            assert_eq!(stream.unread().unwrap(), 0);
            client.write_all(b"12345").unwrap();
            assert_eq!(unread(&stream), 5, "{stream:?}");
            assert!(matches!(stream.read([&mut [0; 2], &mut []]), Ok(Io::Moved(2))));
            assert_eq!(unread(&stream), 3, "{stream:?}");
        }
    }
}
