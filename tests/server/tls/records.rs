//! A client that makes its own records, as no good client does.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rustls::crypto::aws_lc_rs;
use rustls::crypto::cipher::{
    InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::crypto::tls13::{HkdfExpander, OkmBlock};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, KeyLog, ProtocolVersion,
    SupportedCipherSuite, Tls13CipherSuite,
};

use super::{client_of, connect};
use crate::support::Server;
use crate::tls_client::config_of;

pub const FATAL: u8 = 2;
pub const CLOSE_NOTIFY: [u8; 2] = [1, 0];
pub const USER_CANCELED: [u8; 2] = [1, 90];
/// A KeyUpdate (RFC 8446 §4.6.3) that asks for one in return, and one that does not.
pub const KEY_UPDATE_ASKING: [u8; 5] = [24, 0, 0, 1, 1];
pub const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// What has come from the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Came {
    Record(ContentType, Vec<u8>),
    End,
    Reset,
}

/// A connection whose handshake was made by a good client.
pub struct Records {
    pub socket: TcpStream,
    version: ProtocolVersion,
    seals: Sealing,
    opens: Opening,
}

struct Sealing {
    secret: Vec<u8>,
    cipher: Box<dyn MessageEncrypter>,
    next: u64,
}

struct Opening {
    secret: Vec<u8>,
    cipher: Box<dyn MessageDecrypter>,
    next: u64,
}

/// The secrets of a session by their labels.
#[derive(Debug, Default)]
struct Secrets(Mutex<HashMap<String, Vec<u8>>>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        self.0.lock().unwrap().insert(label.to_owned(), secret.to_vec());
    }
}

fn config(suite: SupportedCipherSuite) -> ClientConfig {
    let versions = if suite.tls13().is_some() { [&TLS13] } else { [&TLS12] };
    let mut provider = aws_lc_rs::default_provider();
    (provider.cipher_suites, provider.kx_groups) = (vec![suite], vec![aws_lc_rs::kx_group::X25519]);
    config_of(provider, &versions)
}

fn tls13() -> &'static Tls13CipherSuite {
    aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256.tls13().unwrap()
}

/// One record as it is on the wire; nothing at the end.
fn read_record(socket: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut record = vec![0; 5];
    match socket.read_exact(&mut record) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    record.resize(5 + usize::from(u16::from_be_bytes([record[3], record[4]])), 0);
    socket.read_exact(&mut record[5..])?;
    Ok(Some(record))
}

fn handshake(tls: &mut ClientConnection, socket: &mut TcpStream) {
    loop {
        let mut flight = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut flight).unwrap();
        }
        socket.write_all(&flight).unwrap();
        if !tls.is_handshaking() {
            return;
        }
        let record = read_record(socket).unwrap().expect("the handshake goes on");
        tls.read_tls(&mut record.as_slice()).unwrap();
        tls.process_new_packets().unwrap();
    }
}

impl Records {
    /// A client of TLS 1.3.
    pub fn new(server: &Server) -> Records {
        let secrets = Arc::new(Secrets::default());
        let mut config = config(aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256);
        config.key_log = Arc::clone(&secrets) as Arc<dyn KeyLog>;
        let mut socket = connect(server);
        handshake(&mut client_of(config, "ec.example"), &mut socket);
        let secret = |label: &str| secrets.0.lock().unwrap()[label].clone();
        Records {
            socket,
            version: ProtocolVersion::TLSv1_2,
            seals: Sealing::new(secret("CLIENT_TRAFFIC_SECRET_0")),
            opens: Opening::new(secret("SERVER_TRAFFIC_SECRET_0")),
        }
    }

    /// A client of TLS 1.2. It cannot update its keys.
    pub fn of_tls12(server: &Server) -> Records {
        let suite = aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
        let mut config = config(suite);
        config.enable_secret_extraction = true;
        let (mut tls, mut socket) = (client_of(config, "ec.example"), connect(server));
        handshake(&mut tls, &mut socket);
        let secrets = tls.dangerous_extract_secrets().unwrap();
        let SupportedCipherSuite::Tls12(suite) = suite else { panic!("it is for TLS 1.2") };
        let ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } = secrets.tx.1 else { panic!("another suite") };
        let cipher = suite.aead_alg.encrypter(key, iv.as_ref(), &[]);
        let seals = Sealing { secret: Vec::new(), cipher, next: secrets.tx.0 };
        let ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } = secrets.rx.1 else { panic!("another suite") };
        let cipher = suite.aead_alg.decrypter(key, iv.as_ref());
        let opens = Opening { secret: Vec::new(), cipher, next: secrets.rx.0 };
        Records { socket, version: ProtocolVersion::TLSv1_2, seals, opens }
    }

    /// A record, encrypted.
    pub fn seal(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage { typ, version: self.version, payload: OutboundChunks::Single(payload) };
        let sealed = self.seals.cipher.encrypt(message, self.seals.next).unwrap().encode();
        self.seals.next += 1;
        sealed
    }

    /// Sends a record. Whether the server still takes it shows in what it says.
    pub fn send(&mut self, typ: ContentType, payload: &[u8]) -> bool {
        let sealed = self.seal(typ, payload);
        self.socket.write_all(&sealed).is_ok()
    }

    pub fn send_content(&mut self, content: impl AsRef<[u8]>) -> bool {
        self.send(ContentType::ApplicationData, content.as_ref())
    }

    /// Sends a KeyUpdate; what follows is encrypted with the next key.
    pub fn update_keys(&mut self, asks: bool) -> bool {
        let sent = self.send(ContentType::Handshake, if asks { &KEY_UPDATE_ASKING } else { &KEY_UPDATE });
        self.seals = Sealing::new(next(&self.seals.secret));
        sent
    }

    pub fn read(&mut self) -> Came {
        let mut record = match read_record(&mut self.socket) {
            Ok(Some(record)) => record,
            Ok(None) => return Came::End,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Came::Reset,
            Err(error) => panic!("neither a record nor the end: {error}"),
        };
        let typ = ContentType::from(record[0]);
        let message = InboundOpaqueMessage::new(typ, self.version, &mut record[5..]);
        let opened = self.opens.cipher.decrypt(message, self.opens.next).unwrap();
        self.opens.next += 1;
        let (typ, payload) = (opened.typ, opened.payload.to_vec());
        if typ == ContentType::Handshake && payload.first() == Some(&24) {
            self.opens = Opening::new(next(&self.opens.secret));
        }
        Came::Record(typ, payload)
    }

    /// What comes, without tickets.
    pub fn read_on(&mut self) -> Came {
        loop {
            match self.read() {
                Came::Record(ContentType::Handshake, payload) if payload.first() == Some(&4) => {}
                came => return came,
            }
        }
    }

    /// The next `n` bytes of content, and how many KeyUpdates came before the last of them.
    pub fn read_content(&mut self, n: usize) -> (Vec<u8>, usize) {
        let (mut content, mut updates) = (Vec::new(), 0);
        while content.len() < n {
            match self.read_on() {
                Came::Record(ContentType::ApplicationData, mut payload) => content.append(&mut payload),
                Came::Record(ContentType::Handshake, payload) if payload == KEY_UPDATE => updates += 1,
                came => panic!("{came:?} after {} bytes", content.len()),
            }
        }
        (content, updates)
    }

    /// The alert that the server says before it ends the connection, if it does; content before it is passed over.
    pub fn read_alert(&mut self) -> Option<u8> {
        loop {
            match self.read_on() {
                Came::Record(ContentType::Alert, payload) if payload[0] == FATAL || payload == CLOSE_NOTIFY => {
                    return Some(payload[1]);
                }
                Came::Record(..) => {}
                Came::End | Came::Reset => return None,
            }
        }
    }
}

impl Sealing {
    fn new(secret: Vec<u8>) -> Sealing {
        let (key, iv) = key(&secret);
        Sealing { cipher: tls13().aead_alg.encrypter(key.into(), iv), secret, next: 0 }
    }
}

impl Opening {
    fn new(secret: Vec<u8>) -> Opening {
        let (key, iv) = key(&secret);
        Opening { cipher: tls13().aead_alg.decrypter(key.into(), iv), secret, next: 0 }
    }
}

/// RFC 8446 §7.3.
fn key(secret: &[u8]) -> ([u8; 32], Iv) {
    (expand(secret, "key"), Iv::new(expand(secret, "iv")))
}

/// RFC 8446 §7.2.
fn next(secret: &[u8]) -> Vec<u8> {
    expand::<32>(secret, "traffic upd").to_vec()
}

/// HKDF-Expand-Label (RFC 8446 §7.1) without a context.
fn expand<const N: usize>(secret: &[u8], label: &str) -> [u8; N] {
    let expander: Box<dyn HkdfExpander> = tls13().hkdf_provider.expander_for_okm(&OkmBlock::new(secret));
    let label = format!("tls13 {label}");
    let (length, label_length) = ((N as u16).to_be_bytes(), [label.len() as u8]);
    let mut output = [0; N];
    expander.expand_slice(&[&length, &label_length, label.as_bytes(), &[0]], &mut output).unwrap();
    output
}
