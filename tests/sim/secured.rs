//! TLS at the client's end of a connection: a real client of rustls.

use std::fmt;
use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, SupportedProtocolVersion};
use tidemill::net::tls::{LiveConfig, PairFiles, TlsOptions};

use crate::dice::Dice;
use crate::tls_client::{config, corpus};

/// Content in a record that the client makes, in bytes.
const RECORD_BYTES_MAX: usize = 16 * 1024;

/// So often a client updates its keys at most. The library takes no more than 32 answers without content between them.
const UPDATES_MAX: u32 = 30;

/// How a client ends its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// With close_notify, and then with a FIN.
    Both,
    /// With close_notify only.
    Notify,
    /// With a FIN only, which a server must not take for the end of content.
    Fin,
}

/// A client's side of TLS.
pub struct ClientTls {
    connection: ClientConnection,
    /// How it ends its direction.
    pub farewell: Farewell,
    /// Chance in a thousand, whenever it sends, that it updates its keys and asks the server to do so.
    pub updates: u64,
    updates_left: u32,
    /// Whether the server has said that no more comes.
    pub has_end: bool,
    /// Content that came with the end of the handshake: a server of HTTP/2 speaks first.
    pub early: Vec<u8>,
    /// Where in the ciphertext the handshake has ended.
    handshake_end: Option<u64>,
    /// Bytes sent so far, encrypted and as content, and both at the end of each piece.
    wire: u64,
    content: u64,
    ends: Vec<(u64, u64)>,
}

/// The server's configuration, which all worlds share. Signatures of Ed25519 have always the same length, so a seed means
/// the same world.
pub fn server() -> Arc<LiveConfig> {
    static CONFIG: OnceLock<Arc<LiveConfig>> = OnceLock::new();
    let load = || {
        let pair = PairFiles { certificate: corpus("ed25519.pem"), key: corpus("ed25519-key.pem") };
        let options = TlsOptions { pairs: vec![pair], offers_http2: true, ..TlsOptions::default() };
        Arc::new(LiveConfig::load(options, &mut |_| {}).expect("the corpus can be used"))
    };
    Arc::clone(CONFIG.get_or_init(load))
}

/// What the clients of one world have in common, so that they resume each other's sessions: those of HTTP/1, and those of
/// HTTP/2, of TLS 1.3 and 1.2.
pub struct Clients([Arc<ClientConfig>; 2], [Arc<ClientConfig>; 2]);

impl Clients {
    /// Clients of a new world.
    pub fn new() -> Clients {
        let http2 = |versions| {
            let mut config = config(versions);
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            Arc::new(config)
        };
        let versions: [&[&'static SupportedProtocolVersion]; 2] = [&[&TLS13], &[&TLS12]];
        Clients(versions.map(|versions| Arc::new(config(versions))), versions.map(http2))
    }

    /// Draws a client.
    pub fn draw(&self, dice: &mut Dice) -> ClientTls {
        self.draw_of(&self.0, dice)
    }

    /// Draws a client that speaks HTTP/2 (RFC 9113 §3.2).
    pub fn draw_http2(&self, dice: &mut Dice) -> ClientTls {
        self.draw_of(&self.1, dice)
    }

    fn draw_of(&self, configs: &[Arc<ClientConfig>; 2], dice: &mut Dice) -> ClientTls {
        let config = Arc::clone(&configs[usize::from(dice.chance(250))]);
        let updates = if Arc::ptr_eq(&config, &configs[0]) { dice.pick(&[0, 0, 100, 300]) } else { 0 };
        let name = "ed25519.example".try_into().expect("it is a name");
        ClientTls {
            connection: ClientConnection::new(config, name).expect("the configuration is right"),
            farewell: dice.pick(&[Farewell::Both, Farewell::Notify, Farewell::Fin]),
            updates,
            updates_left: UPDATES_MAX,
            has_end: false,
            early: Vec::new(),
            handshake_end: None,
            wire: 0,
            content: 0,
            ends: Vec::new(),
        }
    }
}

impl ClientTls {
    /// The records that this content goes out in.
    pub fn seal(&mut self, content: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        for piece in content.chunks(RECORD_BYTES_MAX) {
            self.connection.writer().write_all(piece).expect("a record has room");
            wire.append(&mut self.flight());
            self.content += piece.len() as u64;
            self.ends.push((self.wire, self.content));
        }
        wire
    }

    /// Updates the keys, and asks the server to do so.
    pub fn update_keys(&mut self) -> Vec<u8> {
        let may = self.updates_left > 0 && self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        if may {
            self.updates_left -= 1;
            self.connection.refresh_traffic_keys().expect("the handshake is over");
        }
        self.flight()
    }

    /// Says that no more comes.
    pub fn close(&mut self) -> Vec<u8> {
        self.connection.send_close_notify();
        self.flight()
    }

    /// What it has to say of its own accord.
    pub fn flight(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut wire).expect("a vector takes everything");
        }
        self.wire += wire.len() as u64;
        if !self.is_handshaking() {
            self.handshake_end.get_or_insert(self.wire);
        }
        wire
    }

    /// The content of what has arrived.
    pub fn open(&mut self, mut wire: &[u8]) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        while !wire.is_empty() {
            if self.has_end {
                return Err(format!("{} bytes after close_notify", wire.len()));
            }
            self.connection.read_tls(&mut wire).map_err(|error| error.to_string())?;
            let state = self.connection.process_new_packets().map_err(|error| error.to_string())?;
            self.has_end = state.peer_has_closed();
            let start = content.len();
            content.resize(start + state.plaintext_bytes_to_read(), 0);
            self.connection.reader().read_exact(&mut content[start..]).map_err(|error| error.to_string())?;
        }
        Ok(content)
    }

    /// Whether content cannot flow yet.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// How much content so many bytes of ciphertext are.
    pub fn content_of(&self, wire: u64) -> u64 {
        self.ends.iter().rev().find(|(end, _)| *end <= wire).map_or(0, |(_, content)| *content)
    }

    /// Whether the handshake ends within the first `wire` bytes, and whether it ends before.
    pub fn handshake_ends(&self, wire: u64) -> (bool, bool) {
        (self.handshake_end.is_some_and(|end| end <= wire), self.handshake_end.is_some_and(|end| end < wire))
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS ({:?}, {:?}, {} updates)", self.connection.protocol_version(), self.farewell, self.updates)
    }
}
