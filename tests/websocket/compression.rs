//! permessage-deflate (RFC 7692), spoken by a client of a few lines.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::client::{BINARY, CONTINUATION, FIN, Frame, PING, PONG, RSV1, TEXT, WebSocket};
use crate::support::{Server, field};

const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Both directions of a client, its window going from message to message.
struct Deflate {
    compress: Compress,
    decompress: Decompress,
}

impl Deflate {
    fn new() -> Deflate {
        Deflate { compress: Compress::new(Compression::default(), false), decompress: Decompress::new(false) }
    }

    fn compress(&mut self, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(content.len() + 1000);
        self.compress.compress_vec(content, &mut out, FlushCompress::Sync).unwrap();
        out.strip_suffix(&TAIL).unwrap().to_vec()
    }

    fn decompress(&mut self, payload: &[u8], size: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(size + 1);
        self.decompress.decompress_vec(&[payload, &TAIL].concat(), &mut out, FlushDecompress::Sync).unwrap();
        out
    }
}

fn open(server: &Server, offer: &str) -> WebSocket {
    WebSocket::open_with(server, "/ws/echo", &format!("Sec-WebSocket-Extensions: {offer}\r\n"))
}

/// The server's next message, which must be compressed.
fn read_compressed(socket: &mut WebSocket) -> (u8, Vec<u8>) {
    let Frame { first, mut payload } = socket.read();
    assert_eq!(first & RSV1, RSV1, "{first:#x}");
    let mut fin = first & FIN != 0;
    while !fin {
        let next = socket.read();
        assert_eq!(next.first & !FIN, CONTINUATION, "only the first frame is marked");
        fin = next.first & FIN != 0;
        payload.extend(next.payload);
    }
    (first & 0xf, payload)
}

#[test]
fn messages_come_back_compressed_each_with_the_window_of_those_before() {
    let server = Server::start(&[]);
    let mut socket = open(&server, "permessage-deflate");
    assert_eq!(field(&socket.head, "Sec-WebSocket-Extensions"), Some("permessage-deflate"));
    let mut deflate = Deflate::new();
    let text = "the tide turns the mill, the mill turns the stone. ".repeat(40);
    let mut sizes = Vec::new();
    for _ in 0..2 {
        socket.send(FIN | RSV1 | TEXT, deflate.compress(text.as_bytes()));
        let (kind, payload) = read_compressed(&mut socket);
        assert_eq!(kind, TEXT);
        assert!(deflate.decompress(&payload, text.len()) == text.as_bytes());
        sizes.push(payload.len());
    }
    assert!(sizes[0] < text.len() / 4 && sizes[1] < sizes[0], "{sizes:?}");
}

#[test]
fn a_message_may_be_empty_large_or_not_compressed_at_all() {
    let server = Server::start(&[]);
    let mut socket = open(&server, "permessage-deflate");
    let mut deflate = Deflate::new();
    let large: Vec<u8> = (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 29) as u8).collect();
    for content in [&b""[..], b"a", &large] {
        socket.send(FIN | RSV1 | BINARY, deflate.compress(content));
        let (kind, payload) = read_compressed(&mut socket);
        assert_eq!(kind, BINARY);
        assert!(deflate.decompress(&payload, content.len()) == content, "{} bytes", content.len());
    }
    socket.send(FIN | TEXT, "plain");
    let (_, payload) = read_compressed(&mut socket);
    assert_eq!(deflate.decompress(&payload, 5), b"plain");
}

#[test]
fn a_compressed_message_may_be_fragmented_and_interrupted() {
    let server = Server::start(&[]);
    let mut socket = open(&server, "permessage-deflate");
    let mut deflate = Deflate::new();
    let text = "in pieces ".repeat(30);
    let compressed = deflate.compress(text.as_bytes());
    let (front, back) = compressed.split_at(5);
    socket.send(RSV1 | TEXT, front);
    socket.send(FIN | PING, "still there?");
    socket.send(FIN | CONTINUATION, back);
    assert_eq!(socket.read(), Frame { first: FIN | PONG, payload: b"still there?".to_vec() });
    let (_, payload) = read_compressed(&mut socket);
    assert_eq!(deflate.decompress(&payload, text.len()), text.as_bytes());
}

#[test]
fn each_message_alone_when_the_client_asks_for_it() {
    let server = Server::start(&[]);
    let offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10";
    let mut socket = open(&server, offer);
    let agreed = field(&socket.head, "Sec-WebSocket-Extensions").unwrap();
    for parameter in ["server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits=10"] {
        assert!(agreed.contains(parameter), "{agreed}");
    }
    let payloads: Vec<Vec<u8>> = (0..2)
        .map(|_| {
            let mut alone = Deflate::new();
            socket.send(FIN | RSV1 | TEXT, alone.compress(b"again and again"));
            let (_, payload) = read_compressed(&mut socket);
            assert_eq!(alone.decompress(&payload, 100), b"again and again");
            payload
        })
        .collect();
    assert_eq!(payloads[0], payloads[1]);
}

#[test]
fn nothing_is_agreed_on_when_the_server_does_not_want_it() {
    let server = Server::start(&["--ws-compressed", "0"]);
    let mut socket = open(&server, "permessage-deflate; client_max_window_bits");
    assert_eq!(field(&socket.head, "Sec-WebSocket-Extensions"), None);
    socket.send(FIN | TEXT, "plain");
    assert_eq!(socket.read_text(), "plain");
    socket.send(FIN | RSV1 | TEXT, [0]);
    socket.expect_close(1002);
}

#[test]
fn so_many_may_be_compressed_and_one_that_ends_makes_way_for_another() {
    let server = Server::start(&["--ws-compressed", "1"]);
    let is_compressed = |socket: &WebSocket| field(&socket.head, "Sec-WebSocket-Extensions").is_some();
    let mut first = open(&server, "permessage-deflate");
    assert!(is_compressed(&first));
    assert!(!is_compressed(&open(&server, "permessage-deflate")));
    first.send_close(1000);
    assert_eq!(first.read_close().0, 1000);
    first.expect_end();
    assert!(is_compressed(&open(&server, "permessage-deflate")));
}

#[test]
fn what_is_not_deflate_ends_the_websocket() {
    let server = Server::start(&[]);
    let mut socket = open(&server, "permessage-deflate");
    socket.send(FIN | RSV1 | BINARY, [0xff; 20]);
    socket.expect_close(1007);
}

#[test]
fn a_bomb_is_echoed_as_it_is_read_and_not_held() {
    let server = Server::start(&[]);
    let mut socket = open(&server, "permessage-deflate");
    let mut bomb = Compress::new(Compression::best(), false);
    let mut payload = Vec::with_capacity(1 << 20);
    for _ in 0..40 {
        bomb.compress_vec(&vec![0; 1 << 20], &mut payload, FlushCompress::None).unwrap();
    }
    bomb.compress_vec(b"", &mut payload, FlushCompress::Sync).unwrap();
    assert!(payload.len() < 60_000, "{}", payload.len());
    let mut writer = socket.client.stream.try_clone().unwrap();
    let frame = crate::client::frame(FIN | RSV1 | BINARY, payload.strip_suffix(&TAIL).unwrap());
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &frame).unwrap());
    let (_, echoed) = read_compressed(&mut socket);
    sender.join().unwrap();
    assert_eq!(inflated_size(&echoed), 40 << 20);
    assert!(server.peak_kib() < 8 * 1024, "peak memory: {} KiB", server.peak_kib());
}

fn inflated_size(payload: &[u8]) -> u64 {
    let mut decompress = Decompress::new(false);
    let input = [payload, &TAIL].concat();
    let mut piece = vec![0; 1 << 16];
    loop {
        let (used, before) = (decompress.total_in() as usize, decompress.total_out());
        decompress.decompress(&input[used..], &mut piece, FlushDecompress::Sync).unwrap();
        if used == input.len() && decompress.total_out() - before < piece.len() as u64 {
            return decompress.total_out();
        }
    }
}
