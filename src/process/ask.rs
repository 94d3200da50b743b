//! `tidemill ask`: what a running server knows of a connection or a request, or what is wrong with it. Its admin listener is
//! asked for `/ask`, without keys for `/now`, or for `/capture`.

mod capture;
pub(super) mod link;

use std::ffi::OsString;
use std::io::{self, Read};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Command, CommandFactory, Parser};

use super::quantity::size;
use super::usage::{self, Refusal};
use super::{EXIT_FAILURE, cause, complain};
use crate::net::listener::Address;
use capture::CaptureWish;
use link::Link;

/// The word that asks for it.
pub const NAME: &str = "ask";

/// How long the server may keep silent. Its loop answers at the end of a turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes. It has a hundred requests at most.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Asks a running server.
#[derive(Debug, Parser)]
#[command(
    name = "tidemill ask",
    about = "Ask a running server what is wrong with it, or what it knows of a connection or a request, also some time \
             after it has ended",
    override_usage = "tidemill ask [c=17 [r=3 | s=5]] [--admin ADDR] [--json]\n       \
                      tidemill ask --pcapng c=17 [FILE] [--admin ADDR] [--pcapng-size SIZE]",
    after_help = "Without keys it says what is wrong just now, or was in the last minute. The keys are those of the logs. \
                  An identifier that --request-id has made is a key, too: 6a5ea3c7f09ab1e2-c17-r3. How much is kept, \
                  --past of the server says."
)]
struct Order {
    /// c=N: the connection; r=N: the request on it; s=N: the stream of HTTP/2. With --pcapng also FILE
    #[arg(value_name = "KEY")]
    keys: Vec<String>,

    /// Address of the server's admin listener
    #[arg(long, value_name = "ADDR", env = "TIDEMILL_ADMIN", hide_env = true, default_value = "127.0.0.1:9901")]
    admin: Address,

    /// Print the answer as JSON
    #[arg(long)]
    json: bool,

    /// Capture what an open connection says from now on, for Wireshark, until it ends: to FILE, or to standard output
    #[arg(long, conflicts_with = "json")]
    pcapng: bool,

    /// Size of the capture at most, 1MiB to 1TiB
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size(MIB..=TIB), requires = "pcapng")]
    pcapng_size: usize,
}

/// Asks what the `arguments`, the first of them being [`NAME`], want to know.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let program = [OsString::from("tidemill ask")];
    let arguments: Vec<OsString> = program.iter().chain(arguments.iter().skip(1)).cloned().collect();
    let order = match usage::read(&arguments, |_: &mut Order, _| Ok(())) {
        Ok(order) => order,
        Err(refusal) => return refusal.report(),
    };
    let told = match order.pcapng {
        true => CaptureWish::of(&order.keys, order.pcapng_size).map(|wish| wish.fulfil(&order.admin)),
        false => target(&order).map(|target| ask(&order.admin, &target)),
    };
    match told {
        Ok(Ok(text)) => Refusal::Answer(text).report(),
        Ok(Err(failure)) => {
            complain(&failure);
            ExitCode::from(EXIT_FAILURE)
        }
        Err(refusal) => refusal.report(),
    }
}

/// The command of this module.
pub fn command() -> Command {
    Order::command()
}

/// The target that asks for what these keys name; without keys, for how the server stands.
fn target(order: &Order) -> Result<String, Refusal> {
    let mut target = String::from(if order.keys.is_empty() { "/now?format=" } else { "/ask?format=" });
    target.push_str(if order.json { "json" } else { "text" });
    if order.keys.is_empty() {
        return Ok(target);
    }
    let mut seen = String::new();
    let mut keys = Vec::new();
    for word in &order.keys {
        match Identifier::of(word) {
            Some(identifier) => {
                target.push_str(&format!("&run={}", identifier.run));
                keys.extend(identifier.keys);
            }
            None => keys.push(word.clone()),
        }
    }
    for key in keys {
        let wrong =
            || Refusal::usage(format!("invalid value '{key}' for '<KEY>': expected c=N, r=N or s=N, each once"));
        let (name, number) = key.split_once('=').ok_or_else(wrong)?;
        let is_number = number.parse::<u64>().is_ok() && number.bytes().all(|byte| byte.is_ascii_digit());
        if !matches!(name, "c" | "r" | "s") || !is_number || seen.contains(name) {
            return Err(wrong());
        }
        seen.push_str(name);
        target.push_str(&format!("&{key}"));
    }
    match seen.contains('c') && !(seen.contains('r') && seen.contains('s')) {
        true => Ok(target),
        false => Err(Refusal::usage("'<KEY>' needs c=N, and at most one of r=N and s=N".into())),
    }
}

/// An identifier that a server has made (`RequestIds`).
struct Identifier<'a> {
    /// Of which run of the server it is.
    run: &'a str,
    keys: Vec<String>,
}

impl<'a> Identifier<'a> {
    fn of(word: &'a str) -> Option<Identifier<'a>> {
        let mut parts = word.rsplitn(3, '-');
        let keys = [parts.next()?, parts.next()?];
        let run = parts.next().filter(|run| !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_alphanumeric()))?;
        let key = |part: &str| {
            let (letter, number) = part.split_at_checked(1)?;
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| format!("{letter}={number}"))
        };
        let keys = keys.into_iter().rev().map(key).collect::<Option<_>>()?;
        Some(Identifier { run, keys })
    }
}

/// The content of the answer. The error is one line for the user.
fn ask(admin: &Address, target: &str) -> Result<String, String> {
    let cannot = |error: &io::Error| format!("cannot ask {admin}: {}", reason(error, PATIENCE));
    let answer = answer(admin, target).map_err(|error| cannot(&error))?;
    let malformed = || cannot(&io::Error::new(io::ErrorKind::InvalidData, "what answers there is no admin listener"));
    let (head, content) = answer.split_once("\r\n\r\n").ok_or_else(malformed)?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(format!("{}\n", content.trim_end())),
        Some("404") if content.starts_with("nothing is known") || content.starts_with("{\"connection\":") => {
            Err(content.trim_end().to_owned())
        }
        _ => Err(malformed()),
    }
}

pub(super) fn reason(error: &io::Error, patience: Duration) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there (--admin of the server)".into(),
        io::ErrorKind::NotFound => "there is no such socket (--admin of the server)".into(),
        io::ErrorKind::WouldBlock => format!("it has not answered for {patience:?}"),
        _ => cause(error),
    }
}

fn answer(admin: &Address, target: &str) -> io::Result<String> {
    let mut answer = Vec::new();
    Link::asking(admin, target)?.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<String, String> {
        let order = Order::try_parse_from([&["tidemill ask"], words].concat()).map_err(|error| error.to_string())?;
        target(&order).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn keys_stand_in_any_order_and_in_identifiers() {
        for (words, query) in [
            (&["c=17"][..], "text&c=17"),
            (&["r=3", "c=17"], "text&r=3&c=17"),
            (&["c=17", "s=5", "--json"], "json&c=17&s=5"),
            (&["6a5e-c17-r3"], "text&run=6a5e&c=17&r=3"),
            (&["6a5e-c17-s5"], "text&run=6a5e&c=17&s=5"),
        ] {
            assert_eq!(read(words).as_deref(), Ok(&*format!("/ask?format={query}")), "{words:?}");
        }
    }

    #[test]
    fn without_a_key_it_is_the_server_that_is_asked_about() {
        assert_eq!(read(&[]).as_deref(), Ok("/now?format=text"));
        assert_eq!(read(&["--json"]).as_deref(), Ok("/now?format=json"));
    }

    #[test]
    fn other_words_are_refused() {
        for words in [
            &["17"][..],
            &["c="],
            &["c=+1"],
            &["c=1", "c=2"],
            &["r=1"],
            &["c=1", "r=1", "s=1"],
            &["c=1&x=2"],
            &["c=1\r\nA:"],
            &["c=99999999999999999999"],
            &["-c1-x2"],
            &["a-b-c17-s5"],
            &["a&c=2-c17-s5"],
            &["c=1", "--admin", "example.org:1"],
        ] {
            assert!(read(words).is_err(), "{words:?}");
        }
    }
}
