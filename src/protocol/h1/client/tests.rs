use super::*;
use crate::http::message::Version;

struct Peer {
    client: Client,
    inbox: RingBuffer,
    outbox: RingBuffer,
    scratch: Scratch,
    limits: Limits,
}

impl Peer {
    fn new() -> Peer {
        Peer {
            client: Client::new(),
            inbox: RingBuffer::new(1024),
            outbox: RingBuffer::new(1024),
            scratch: Scratch::default(),
            limits: Limits::default(),
        }
    }

    fn asking(request: &OutgoingRequest) -> Peer {
        let mut peer = Peer::new();
        peer.client.send_head(request, &mut Vec::new());
        peer
    }

    fn arrive(&mut self, bytes: &[u8]) {
        assert_eq!(self.inbox.put(bytes), bytes.len());
    }

    fn step(&mut self) -> Result<Received<'_>, ResponseError> {
        self.client.receive(&mut self.inbox, &mut self.scratch, &self.limits)
    }

    /// The whole of one response is received.
    fn response(&mut self, bytes: &[u8]) {
        self.arrive(bytes);
        loop {
            let content = match self.step().expect("a good response") {
                Received::Content(n) => n,
                Received::End(_) => break,
                Received::Interim(_) | Received::Head(_) => 0,
                Received::NeedBytes | Received::Paused => panic!("the response is not complete"),
            };
            self.client.taken(&mut self.inbox, content);
        }
    }

    fn put(&mut self, content: &[u8]) -> usize {
        let Some(mut room) = self.client.room(&mut self.outbox) else { return 0 };
        let n = room.put(content);
        self.client.seal(&mut self.outbox, n);
        n
    }

    fn sent(&mut self) -> Vec<u8> {
        let sent = self.outbox.readable().concat();
        self.outbox.clear();
        sent
    }
}

fn get() -> OutgoingRequest {
    OutgoingRequest {
        method: Method::Get,
        target: b"/a?b".to_vec(),
        host: b"example.org".to_vec(),
        lines: b"Accept: */*\r\nVia: 1.1 a\r\n".to_vec(),
        content: Announced::Nothing,
        expects_continue: false,
        upgrade: None,
        takes_trailers: false,
    }
}

fn post(content: Announced) -> OutgoingRequest {
    OutgoingRequest { method: Method::Post, lines: Vec::new(), content, ..get() }
}

fn upgrade() -> OutgoingRequest {
    OutgoingRequest { upgrade: Some(b"websocket".to_vec()), lines: Vec::new(), ..get() }
}

fn head(request: &OutgoingRequest) -> String {
    let mut head = b"before".to_vec();
    Client::new().send_head(request, &mut head);
    let head = String::from_utf8(head).expect("text").replace("\r\n", "|");
    head.strip_prefix("before").expect("what stood there stays").to_owned()
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const SWITCHED: &[u8] = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";

#[test]
fn a_client_is_small() {
    assert!(size_of::<Client>() <= 80, "{}", size_of::<Client>());
}

#[test]
fn a_head_has_host_first_and_then_what_concerns_the_connection() {
    assert_eq!(head(&get()), "GET /a?b HTTP/1.1|Host: example.org|Accept: */*|Via: 1.1 a||");
    let start = "POST /a?b HTTP/1.1|Host: example.org|";
    assert_eq!(head(&post(Announced::Nothing)), format!("{start}Content-Length: 0||"));
    assert_eq!(head(&post(Announced::Length(70))), format!("{start}Content-Length: 70||"));
    assert_eq!(head(&post(Announced::Unknown)), format!("{start}Transfer-Encoding: chunked||"));
    let waiting = OutgoingRequest { expects_continue: true, takes_trailers: true, ..post(Announced::Length(1)) };
    assert_eq!(head(&waiting), format!("{start}Content-Length: 1|Expect: 100-continue|TE: trailers|Connection: TE||"));
    let idle = OutgoingRequest { expects_continue: true, ..post(Announced::Nothing) };
    assert_eq!(head(&idle), format!("{start}Content-Length: 0||"), "there is nothing to wait with");
    let start = start.replace("POST", "GET");
    assert_eq!(head(&upgrade()), format!("{start}Upgrade: websocket|Connection: Upgrade||"));
    let both = OutgoingRequest { takes_trailers: true, ..upgrade() };
    assert_eq!(head(&both), format!("{start}Upgrade: websocket|TE: trailers|Connection: Upgrade, TE||"));
}

#[test]
fn one_request_follows_the_other() {
    let mut peer = Peer::new();
    for _ in 0..3 {
        assert!(matches!(peer.step(), Ok(Received::NeedBytes)), "nothing is there");
        assert_eq!((peer.client.receiving(), peer.client.sending()), (Receiving::Idle, Sending::Idle));
        assert!(!peer.client.cycle(), "there is nothing to lead on from");
        peer.client.send_head(&get(), &mut Vec::new());
        assert_eq!((peer.client.receiving(), peer.client.sending()), (Receiving::Idle, Sending::Done));
        peer.arrive(&OK[..20]);
        assert!(matches!(peer.step(), Ok(Received::NeedBytes)));
        assert_eq!(peer.client.receiving(), Receiving::Head);
        peer.arrive(&OK[20..]);
        assert!(matches!(peer.step(), Ok(Received::Head(head)) if head.content == ResponseContent::Length(2)));
        assert_eq!(peer.client.receiving(), Receiving::Content);
        assert!(matches!(peer.step(), Ok(Received::Content(2))));
        assert!(matches!(peer.step(), Ok(Received::Content(2))), "it is offered until it is taken");
        peer.client.taken(&mut peer.inbox, 2);
        assert!(!peer.client.cycle(), "the end has not been returned");
        assert!(matches!(peer.step(), Ok(Received::End(trailers)) if trailers.is_empty()));
        assert!(matches!(peer.step(), Ok(Received::Paused)));
        assert!(peer.client.persists() && peer.client.cycle());
    }
}

#[test]
fn content_is_framed_as_the_head_says() {
    let mut peer = Peer::asking(&post(Announced::Length(5)));
    assert_eq!(peer.put(b"hello, world"), 5);
    assert!(peer.client.has_all_content());
    assert_eq!(peer.client.finish(&mut peer.outbox, None), Ok(true));
    assert_eq!((&peer.sent()[..], peer.client.sending()), (&b"hello"[..], Sending::Done));

    let mut peer = Peer::asking(&post(Announced::Unknown));
    assert_eq!(peer.put(b"hello"), 5);
    assert_eq!(peer.client.finish(&mut peer.outbox, None), Ok(true));
    assert_eq!(peer.sent(), b"5\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn a_request_with_less_than_announced_cuts_the_connection() {
    let mut peer = Peer::asking(&post(Announced::Length(5)));
    peer.put(b"hell");
    assert_eq!(peer.client.finish(&mut peer.outbox, None), Err(ShortContent { missing: 1 }));
    assert!(!peer.client.persists());
}

#[test]
fn a_response_that_comes_early_lets_the_connection_persist_only_if_the_request_is_completed() {
    let mut peer = Peer::asking(&post(Announced::Unknown));
    peer.response(OK);
    assert!(!peer.client.persists() && !peer.client.cycle());
    assert_eq!(peer.client.finish(&mut peer.outbox, None), Ok(true));
    assert!(peer.client.persists() && peer.client.cycle());
}

#[test]
fn what_no_request_has_asked_for_makes_the_connection_unusable() {
    let mut before = Peer::new();
    before.arrive(b"H");
    assert_eq!(before.step().expect_err("it is refused"), UNASKED);
    assert!(!before.client.persists() && !before.client.cycle());

    let mut behind = Peer::asking(&get());
    behind.response(&[OK, OK].concat());
    assert!(!behind.client.persists() && !behind.client.cycle());
    assert!(matches!(behind.step(), Ok(Received::Paused)), "it is not read");

    let mut later = Peer::asking(&get());
    later.response(OK);
    assert!(later.client.cycle());
    later.arrive(OK);
    assert_eq!(later.step().expect_err("it is refused"), UNASKED);
    assert!(!later.client.persists());
}

#[test]
fn behind_an_upgrade_each_direction_ends_for_itself() {
    for client_ends_first in [false, true] {
        let mut peer = Peer::asking(&upgrade());
        peer.arrive(&[SWITCHED, b"from there"].concat());
        assert!(matches!(peer.step(), Ok(Received::Head(head)) if head.content == ResponseContent::Tunnel));
        assert_eq!((peer.client.receiving(), peer.client.sending()), (Receiving::Content, Sending::Content));
        assert!(matches!(peer.step(), Ok(Received::Content(10))));
        peer.client.taken(&mut peer.inbox, 10);
        assert_eq!(peer.put(b"from here"), 9);
        assert_eq!(peer.sent(), b"from here", "nothing is added");
        let end_ours = |peer: &mut Peer| {
            assert_eq!(peer.client.finish(&mut peer.outbox, None), Ok(true));
            assert_eq!((&peer.sent()[..], peer.client.sending()), (&b""[..], Sending::Done));
        };
        if client_ends_first {
            end_ours(&mut peer);
            peer.arrive(b"more");
            assert!(matches!(peer.step(), Ok(Received::Content(4))), "the other direction goes on");
            peer.client.taken(&mut peer.inbox, 4);
        }
        assert_eq!(peer.client.on_eof(), Ok(true));
        assert!(matches!(peer.step(), Ok(Received::End(_))));
        if !client_ends_first {
            assert_eq!(peer.put(b"more"), 4, "the other direction goes on");
            assert_eq!(peer.sent(), b"more");
            end_ours(&mut peer);
        }
        assert!(!peer.client.persists() && !peer.client.cycle());
    }
}

#[test]
fn the_end_of_input_is_an_error_only_where_a_response_is_missing() {
    let ended = |request: Option<&OutgoingRequest>, bytes: &[u8]| {
        let mut peer = request.map_or_else(Peer::new, Peer::asking);
        peer.arrive(bytes);
        loop {
            match peer.step().expect("no error") {
                Received::Content(n) => peer.client.taken(&mut peer.inbox, n),
                Received::NeedBytes | Received::Paused => break,
                Received::Interim(_) | Received::Head(_) | Received::End(_) => {}
            }
        }
        let end = peer.client.on_eof().map_err(|error| error.reason);
        assert!(!peer.client.persists());
        end
    };
    assert_eq!(ended(None, b""), Ok(false));
    assert_eq!(ended(Some(&get()), b""), Err("the connection ended without a response"));
    assert_eq!(ended(Some(&get()), b"HTTP/1.1 1"), Err("the connection ended inside a response's head"));
    assert_eq!(ended(Some(&get()), b"HTTP/1.1 100 X\r\n\r\n"), Err("the connection ended without a response"));
    assert_eq!(ended(Some(&get()), &OK[..OK.len() - 1]), Err("the connection ended inside a response's content"));
    assert_eq!(ended(Some(&get()), b"HTTP/1.1 200 OK\r\n\r\nabc"), Ok(true));
    assert_eq!(ended(Some(&get()), OK), Ok(false));
}

#[test]
fn the_last_timeout_that_a_response_has_told_is_known_on_the_idle_connection() {
    let mut peer = Peer::asking(&get());
    peer.response(b"HTTP/1.1 204 X\r\nKeep-Alive: timeout=5, max=9\r\n\r\n");
    assert!(peer.client.cycle());
    assert_eq!(peer.client.keep_alive_secs(), Some(5));
    for (response, secs) in [("HTTP/1.1 204 X\r\n\r\n", 5), ("HTTP/1.1 204 X\r\nKeep-Alive: timeout=9\r\n\r\n", 9)] {
        peer.client.send_head(&get(), &mut Vec::new());
        peer.response(response.as_bytes());
        assert!(peer.client.cycle());
        assert_eq!(peer.client.keep_alive_secs(), Some(secs));
    }
}

#[test]
fn the_spans_of_another_connection_do_not_disturb_a_head_in_pieces() {
    let mut peer = Peer::asking(&get());
    let (front, back) = b"HTTP/1.0 200 OK\r\nA: 1\r\nB: 2\r\n\r\n".split_at(24);
    peer.arrive(front);
    assert!(matches!(peer.step(), Ok(Received::NeedBytes)));
    let mut other = Peer::asking(&get());
    other.scratch = std::mem::take(&mut peer.scratch);
    other.response(OK);
    peer.scratch = other.scratch;
    peer.arrive(back);
    let Ok(Received::Head(head)) = peer.step() else { panic!("a good head") };
    let fields: Vec<_> = head.fields.iter().collect();
    assert_eq!((head.version, fields), (Version::Http10, vec![(&b"A"[..], &b"1"[..]), (b"B", b"2")]));
}
