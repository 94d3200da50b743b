//! Requests, and a client that waits for their answers.

use crate::Failure;
use rustls::{ClientConfig, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tidemill_bench::tls;

/// What a browser sends besides Host: with it twelve fields and, in all, about 700 bytes.
pub const BROWSER_FIELDS: [(&str, &str); 11] = [
    ("Connection", "keep-alive"),
    ("Cache-Control", "max-age=0"),
    ("Upgrade-Insecure-Requests", "1"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    ),
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,\
         application/signed-exchange;v=b3;q=0.7",
    ),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7"),
    (
        "Cookie",
        "session=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c; theme=dark; consent=necessary; seen=2026-11-20T18:30:00Z",
    ),
];

/// A request head for this path with Host and these fields.
pub fn request(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> String {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n")
}

/// A response.
pub struct Answer {
    /// Whether its status is 200.
    pub is_ok: bool,
    /// For a reader, if it is not the one that was expected.
    pub head: String,
    pub content: Vec<u8>,
    /// As it came: head and content, with what frames them.
    pub bytes: usize,
}

pub fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

/// A connection, over TLS or not.
pub trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// Speaks TLS on it from now on, where there is a configuration for that; this includes the handshake.
pub fn secure(mut stream: TcpStream, config: Option<&Arc<ClientConfig>>) -> Result<Box<dyn Stream>, Failure> {
    let Some(config) = config else { return Ok(Box::new(stream)) };
    let mut client = tls::client(config)?;
    while client.is_handshaking() {
        client.complete_io(&mut stream)?;
    }
    tls::require_full_handshake(&client)?;
    Ok(Box::new(StreamOwned::new(client, stream)))
}

/// Sends the request and reads the response to it, which has to have a length.
pub fn exchange(stream: &mut dyn Stream, request: &[u8]) -> Result<Answer, Failure> {
    stream.write_all(request)?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    let end = loop {
        match stream.read(&mut buffer)? {
            0 => return Err("the server closed the connection before it answered".into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
        if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            break end + 4;
        }
    };
    let mut content = bytes.split_off(end);
    let head = String::from_utf8(bytes)?;
    let missing = content_length(&head)?.checked_sub(content.len()).ok_or("more content than its length")?;
    let start = content.len();
    content.resize(start + missing, 0);
    stream.read_exact(&mut content[start..])?;
    let bytes = head.len() + content.len();
    Ok(Answer { is_ok: head.starts_with("HTTP/1.1 200 "), head, content, bytes })
}

fn content_length(head: &str) -> Result<usize, Failure> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length")).ok_or("no Content-Length")?;
    Ok(value.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_sends_twelve_fields_and_about_700_bytes() {
        let request = request(([127, 0, 0, 1], 40000).into(), "plaintext", &BROWSER_FIELDS);
        assert_eq!(request.matches("\r\n").count(), 1 + 12 + 1);
        assert!((680..=720).contains(&request.len()), "{} bytes", request.len());
    }
}
