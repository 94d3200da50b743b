//! A WebSocket echo server on tungstenite, to be measured next to tidemill: `ws-tungstenite`.
//!
//! One thread and one edge-triggered event loop, as tidemill has; tungstenite's own defaults otherwise. It prints
//! `listening on ws://127.0.0.1:PORT/` and runs until it is killed.

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io;
use tungstenite::handshake::server::NoCallback;
use tungstenite::handshake::{HandshakeError, MidHandshake};
use tungstenite::{Error, ServerHandshake, WebSocket};

type Shaking = MidHandshake<ServerHandshake<TcpStream, NoCallback>>;

enum Peer {
    Shaking(Shaking),
    Open(WebSocket<TcpStream>),
}

const LISTENER: Token = Token(usize::MAX);

fn main() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on ws://{}/", listener.local_addr()?);
    // Places are not used again: a bench makes some hundreds of connections.
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                LISTENER => accept_all(&listener, &poll, &mut peers)?,
                Token(place) => peers[place] = peers[place].take().and_then(turn),
            }
        }
    }
}

/// Takes what the backlog holds. A peer's first event comes once it is registered, even if its request is there already.
fn accept_all(listener: &TcpListener, poll: &Poll, peers: &mut Vec<Option<Peer>>) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        poll.registry().register(&mut stream, Token(peers.len()), Interest::READABLE | Interest::WRITABLE)?;
        peers.push(after_handshake(tungstenite::accept(stream)));
    }
}

/// The peer after as much as can be done for it now; none if it is gone.
fn turn(peer: Peer) -> Option<Peer> {
    match peer {
        Peer::Shaking(handshake) => after_handshake(handshake.handshake()),
        Peer::Open(socket) => echo(socket),
    }
}

fn after_handshake(
    result: Result<WebSocket<TcpStream>, HandshakeError<ServerHandshake<TcpStream, NoCallback>>>,
) -> Option<Peer> {
    match result {
        Ok(socket) => echo(socket),
        Err(HandshakeError::Interrupted(handshake)) => Some(Peer::Shaking(handshake)),
        Err(HandshakeError::Failure(error)) => report(&error),
    }
}

/// Echoes every message that is there, and flushes once there is none.
fn echo(mut socket: WebSocket<TcpStream>) -> Option<Peer> {
    loop {
        let result = match socket.read() {
            Ok(message) if message.is_text() || message.is_binary() => socket.write(message),
            Ok(_) => Ok(()),
            Err(error) if is_blocked(&error) => break,
            Err(error) => Err(error),
        };
        match result {
            Err(error) if !is_blocked(&error) => return report(&error),
            _ => {}
        }
    }
    match socket.flush() {
        Err(error) if !is_blocked(&error) => report(&error),
        _ => Some(Peer::Open(socket)),
    }
}

fn is_blocked(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Clients of a bench leave without a closing handshake; anything else is worth a line.
fn report(error: &Error) -> Option<Peer> {
    let is_leaving = match error {
        Error::ConnectionClosed => true,
        Error::Io(error) => error.kind() == io::ErrorKind::ConnectionReset,
        Error::Protocol(error) => {
            matches!(error, tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)
        }
        _ => false,
    };
    if !is_leaving {
        eprintln!("{error}");
    }
    None
}
