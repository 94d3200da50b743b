//! What is to be explained: a request line, fields, and the server's own settings.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::Parser;

use super::super::settings::Settings;
use super::super::usage::{self, Refusal};
use super::frames;
use crate::base::listener_role::ListenerRole;
use crate::net::listener::ListenAddress;
use crate::service::explanation::printable;

/// Tells how the server would answer a request, and why, without opening a socket.
#[derive(Debug, Parser)]
#[command(
    name = "tidemill explain",
    about = "Tell how the server would answer a request, and why, without opening a socket",
    override_usage = "tidemill explain [OPTIONS] [-H 'NAME: VALUE']... 'GET /path' [ROOT]",
    after_help = "ROOT, flags and environment variables are the server's own. Those that do not shape an answer have no \
                  effect."
)]
pub struct Order {
    /// What a client would send: 'GET /path' or 'GET /path HTTP/1.0'
    #[arg(value_name = "REQUEST")]
    request: OsString,

    /// Explain the request over HTTP/2, with its frames and fields. It has no version, then
    #[arg(short = '2', long)]
    pub http2: bool,

    /// A field of the request; repeatable. Without a Host it gets one: localhost
    #[arg(short = 'H', value_name = "NAME: VALUE")]
    fields: Vec<OsString>,

    /// The host of the request: what Host says
    #[arg(long, value_name = "HOST")]
    host: Option<OsString>,

    /// The request comes over TLS, whose handshake asked for NAME [default: the host of the request]
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true)]
    pub https: Option<Option<String>>,

    /// The listener that it comes through, as --listen or a site has it [default: the first that has a site for its host]
    #[arg(long, value_name = "ADDR")]
    pub via: Option<ListenAddress>,

    /// How the server would be set up.
    #[command(flatten)]
    pub settings: Settings,
}

/// What a client would send.
#[derive(Debug)]
pub enum Asked {
    /// The head of a request.
    Http1(Vec<u8>),
    /// The preface, SETTINGS and a request.
    Http2(Vec<u8>),
}

impl Order {
    /// Reads the command line, its first word being the command, and the environment: the order, and the head of the
    /// request that it is about.
    ///
    /// # Errors
    /// What to tell the user instead.
    pub fn read(arguments: &[OsString]) -> Result<(Order, Asked), Refusal> {
        let program = [OsString::from("tidemill explain")];
        let arguments: Vec<OsString> = program.iter().chain(arguments.iter().skip(1)).cloned().collect();
        let mut order = usage::read(&arguments, |order: &mut Order, given| order.settings.check(given))?;
        if let Some(host) = order.host.take() {
            if order.fields.iter().any(|field| is_host(field.as_bytes())) {
                return Err(Refusal::usage("'--host <HOST>' cannot be used with '-H' for a Host".into()));
            }
            let mut field = OsString::from("Host: ");
            field.push(host);
            order.fields.insert(0, field);
        }
        // Only over TLS a client sends it.
        if order
            .request
            .as_bytes()
            .split(|byte| *byte == b' ')
            .nth(1)
            .is_some_and(|target| target.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https://")))
        {
            order.https.get_or_insert_default();
        }
        if let Some(via) = &order.via {
            if !order.settings.addresses().contains(via) {
                return Err(Refusal::usage(format!(
                    "invalid value '{via}' for '--via <ADDR>': the server does not listen there"
                )));
            }
            match via.role {
                ListenerRole::Https => {
                    order.https.get_or_insert_default();
                }
                _ if order.https.is_some() => {
                    return Err(Refusal::usage(format!(
                        "'--via <ADDR>' names {via}, where requests over TLS do not come"
                    )));
                }
                _ => {}
            }
        }
        let asked = order.asked()?;
        Ok((order, asked))
    }

    fn asked(&self) -> Result<Asked, Refusal> {
        if !self.http2 {
            return self.head().map(Asked::Http1);
        }
        if !self.settings.offers_http2() {
            return Err(Refusal::usage("'--http2' cannot be used with '--no-http2'".to_owned()));
        }
        let line = self.request.as_bytes();
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let [method, target] = words[..] else {
            return Err(no_request(&self.request));
        };
        if breaks_line(line) || words.contains(&&b""[..]) {
            return Err(no_request(&self.request));
        }
        let fields = self.fields.iter().map(|field| {
            let line = field_line(field)?;
            let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':').unwrap_or(line.len()));
            let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii();
            Ok((name.to_vec(), value.to_vec()))
        });
        Ok(Asked::Http2(frames::request(
            method,
            target,
            self.https.is_some(),
            &fields.collect::<Result<Vec<_>, Refusal>>()?,
        )))
    }

    /// The bytes that a client would send. Any line is accepted, also a wrong one: the server says what is wrong with it.
    fn head(&self) -> Result<Vec<u8>, Refusal> {
        let mut lines = vec![request_line(&self.request)?];
        let fields: Vec<&[u8]> = self.fields.iter().map(|field| field_line(field)).collect::<Result<_, _>>()?;
        if !fields.iter().any(|line| is_host(line)) {
            lines.push(b"Host: localhost".to_vec());
        }
        lines.extend(fields.into_iter().map(<[u8]>::to_vec));
        Ok([lines.join(&b"\r\n"[..]), b"\r\n\r\n".to_vec()].concat())
    }
}

/// The line as given, with a version if it has none.
fn request_line(request: &OsStr) -> Result<Vec<u8>, Refusal> {
    let line = request.as_bytes();
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    match words[..] {
        _ if breaks_line(line) || words.contains(&&b""[..]) => Err(no_request(request)),
        [_, _] => Ok([line, b" HTTP/1.1"].concat()),
        [_, _, version] if version.starts_with(b"HTTP/") => Ok(line.to_vec()),
        _ => Err(no_request(request)),
    }
}

fn field_line(field: &OsStr) -> Result<&[u8], Refusal> {
    let line = field.as_bytes();
    match line.contains(&b':') && !breaks_line(line) {
        true => Ok(line),
        false => Err(Refusal::usage(format!(
            "invalid value '{}' for '-H <NAME: VALUE>': expected a field such as 'Accept-Encoding: gzip'",
            printable(line)
        ))),
    }
}

fn no_request(request: &OsStr) -> Refusal {
    let given = printable(request.as_bytes());
    Refusal::usage(format!(
        "invalid value '{given}' for '<REQUEST>': expected a method and a target, such as 'GET /path'"
    ))
}

fn breaks_line(line: &[u8]) -> bool {
    line.contains(&b'\r') || line.contains(&b'\n')
}

fn is_host(line: &[u8]) -> bool {
    line.split(|byte| *byte == b':').next().is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(b"host"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn read(words: &[&str]) -> Result<String, String> {
        let arguments: Vec<OsString> = ["explain"].iter().chain(words).map(OsString::from).collect();
        let read = Order::read(&arguments).map_err(|refusal| refusal.to_string())?;
        let Asked::Http1(head) = read.1 else { panic!("HTTP/2 was not asked for") };
        Ok(String::from_utf8(head).unwrap())
    }

    #[test]
    fn the_command_is_consistent_with_the_servers() {
        Order::command().debug_assert();
    }

    #[test]
    fn a_request_gets_what_it_lacks_and_nothing_else() {
        assert_eq!(read(&["GET /a?b"]).unwrap(), "GET /a?b HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(read(&["HEAD / HTTP/1.0"]).unwrap(), "HEAD / HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let given = ["-H", "host: a", "-H", "X : y", "get /%zz HTTP/7"];
        assert_eq!(read(&given).unwrap(), "get /%zz HTTP/7\r\nhost: a\r\nX : y\r\n\r\n");
    }

    #[test]
    fn a_host_is_a_field() {
        assert_eq!(
            read(&["--host", "a.example:8080", "GET /"]).unwrap(),
            "GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n"
        );
        let refused = "'--host <HOST>' cannot be used with '-H' for a Host";
        assert_eq!(read(&["--host", "a", "-H", "hoST: b", "GET /"]).unwrap_err(), refused);
        assert!(read(&["--host", "a\r\nX: y", "GET /"]).unwrap_err().contains("a\\r\\nX: y"));
    }

    #[test]
    fn what_cannot_be_a_line_is_refused() {
        let request = "for '<REQUEST>': expected a method and a target, such as 'GET /path'";
        assert_eq!(read(&["GET"]).unwrap_err(), format!("invalid value 'GET' {request}"));
        assert_eq!(read(&["GET /a b"]).unwrap_err(), format!("invalid value 'GET /a b' {request}"));
        assert_eq!(read(&["GET  /a"]).unwrap_err(), format!("invalid value 'GET  /a' {request}"));
        assert_eq!(read(&["GET /\r\nX: y"]).unwrap_err(), format!("invalid value 'GET /\\r\\nX: y' {request}"));
        let field = "for '-H <NAME: VALUE>': expected a field such as 'Accept-Encoding: gzip'";
        assert_eq!(read(&["-H", "gzip", "GET /"]).unwrap_err(), format!("invalid value 'gzip' {field}"));
        assert_eq!(read(&["-H", "a: b\nc: d", "GET /"]).unwrap_err(), format!("invalid value 'a: b\\nc: d' {field}"));
        let root = "for '[ROOT]': expected a directory or a file: it is neither";
        assert_eq!(read(&["GET /", "/dev/null"]).unwrap_err(), format!("invalid value '/dev/null' {root}"));
    }
}
