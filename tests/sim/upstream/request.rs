//! A request as an upstream gets it, which must be strictly right.

use tidemill::protocol::ws::handshake::accept_of;

use crate::link::LinkId;

/// What checks ask for.
pub const CHECK_TARGET: &str = "/healthz";

/// The head of a request.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    fields: Vec<(String, String)>,
    head_len: usize,
}

impl Request {
    /// The request whose head is at the beginning of `input`, if it is complete there. It must be strictly right.
    pub fn parse(input: &[u8]) -> Result<Option<Request>, String> {
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let head = String::from_utf8_lossy(&input[..end]).into_owned();
        let wrong = |what: &str| Err(format!("an upstream gets a request with {what}: {head:?}"));
        let mut lines = head.split("\r\n");
        let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let [method, path, "HTTP/1.1"] = words[..] else { return wrong("a bad request line") };
        let mut fields = Vec::new();
        for line in lines {
            let Some((name, value)) = line.split_once(": ") else { return wrong("a bad field line") };
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let request = Request { method: method.to_owned(), path: path.to_owned(), fields, head_len: end + 4 };
        let vias = usize::from(!request.is_check());
        match () {
            () if request.count("host") != 1 => wrong("no Host, or more than one"),
            () if request.count("content-length") + request.count("transfer-encoding") > 1 => wrong("two framings"),
            () if request.count("via") != vias => wrong("no Via, or more than one"),
            () if request.count("x-forwarded-for") != vias => wrong("no X-Forwarded-For, or more than one"),
            () if request.field("connection") != request.field("upgrade").map(|_| "Upgrade") => {
                wrong("another Connection than for Upgrade (RFC 9110 §7.6.1)")
            }
            () if ["keep-alive", "te", "proxy-connection"].iter().any(|name| request.count(name) > 0) => {
                wrong("fields of another connection (RFC 9110 §7.6.1)")
            }
            () => Ok(Some(request)),
        }
    }

    fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(other, _)| other == name).count()
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Whether the server asks for itself whether this upstream is well.
    pub fn is_check(&self) -> bool {
        self.path == CHECK_TARGET && self.field("user-agent") == Some("tidemill")
    }

    /// What tells this request from all others.
    pub fn tag(&self) -> Option<u64> {
        self.field("tag")?.parse().ok()
    }

    /// The connection of the client that has sent it: its address says which it is (`reactor.rs`).
    pub fn client(&self) -> Option<LinkId> {
        let address: std::net::Ipv4Addr = self.field("x-forwarded-for")?.parse().ok()?;
        let [10, 0, high, low] = address.octets() else { return None };
        Some(LinkId::from(high) << 8 | LinkId::from(low))
    }

    /// Whether the client that the server has it from speaks this version.
    pub fn is_from(&self, version: &str) -> bool {
        self.field("via").is_some_and(|via| via.starts_with(version))
    }

    /// RFC 9110 §9.2.2
    pub fn is_idempotent(&self) -> bool {
        ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"].contains(&self.method.as_str())
    }

    /// The fields of a 101 that answers it, if it asks for another protocol. `is_wrong`: those of one that must be refused.
    pub fn switch(&self, is_wrong: bool) -> Option<String> {
        let protocol = self.field("upgrade")?;
        let protocol = if is_wrong { "another" } else { protocol };
        let accept = self.field("sec-websocket-key").map(|key| {
            let key = if is_wrong { "another" } else { key };
            format!("Sec-WebSocket-Accept: {}\r\n", accept_of(key.as_bytes()))
        });
        Some(format!("Connection: Upgrade\r\nUpgrade: {protocol}\r\n{}", accept.unwrap_or_default()))
    }

    /// How much content is announced, if it is.
    pub fn length(&self) -> Option<usize> {
        self.field("content-length").and_then(|length| length.parse().ok())
    }

    /// The content, and where the request ends, if all of it is in `input`.
    pub fn content(&self, input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
        if self.count("transfer-encoding") > 0 {
            return unchunk(input, self.head_len);
        }
        let length =
            self.field("content-length").map_or(Ok(0), str::parse::<usize>).map_err(|error| error.to_string())?;
        let end = self.head_len + length;
        Ok(input.get(self.head_len..end).map(|content| (content.to_vec(), end)))
    }
}

/// The content of the chunks from `at` on, and where they end.
fn unchunk(input: &[u8], mut at: usize) -> Result<Option<(Vec<u8>, usize)>, String> {
    let mut content = Vec::new();
    let line = |at: usize| {
        let rest = &input[at.min(input.len())..];
        rest.windows(2).position(|two| two == b"\r\n").map(|end| String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    loop {
        let Some(size) = line(at) else { return Ok(None) };
        at += size.len() + 2;
        let size = usize::from_str_radix(&size, 16).map_err(|_| format!("an upstream gets the chunk size {size:?}"))?;
        if size == 0 {
            break;
        }
        let Some(chunk) = input.get(at..at + size + 2) else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err("an upstream gets a chunk that is longer than its size".to_owned());
        }
        content.extend_from_slice(&chunk[..size]);
        at += size + 2;
    }
    loop {
        let Some(trailer) = line(at) else { return Ok(None) };
        at += trailer.len() + 2;
        if trailer.is_empty() {
            return Ok(Some((content, at)));
        }
    }
}
