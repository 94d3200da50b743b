//! Kinds of clients of the echo protocols, and a naive model of what they must get.

use std::time::Duration;

use tidemill::base::limits::Limits;
use tidemill::base::listener_role::ListenerRole;

use crate::client::{Ending, Since, Step, Window};
use crate::dice::Dice;
use crate::echo::EchoClient;
use crate::kinds::Draw;
use crate::link::Nature;
use crate::service::pattern;

type Drawn = (ListenerRole, EchoClient, Nature);

/// The longest line that is answered, in bytes, however large the inbox is.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// Draws a client of either protocol.
pub fn any(draw: &mut Draw<'_>) -> Drawn {
    let protocol = if draw.dice.chance(500) { Bytes::draw } else { Lines::draw };
    protocol(draw)
}

/// All that a client of `role` gets that sends `sent`.
pub fn answers(role: ListenerRole, sent: &[u8], limits: &Limits) -> Vec<u8> {
    match role {
        ListenerRole::LineEcho => line_answers(sent, line_bytes_max(limits)).0,
        _ => sent.to_vec(),
    }
}

/// The CRLF that ends a line must have room in the inbox, too.
fn line_bytes_max(limits: &Limits) -> usize {
    LINE_BYTES_MAX.min(limits.inbox_bytes.max(limits.head_bytes_max) - 2)
}

/// All that comes back, and whether the server ends the connection after it.
fn line_answers(sent: &[u8], longest: usize) -> (Vec<u8>, bool) {
    let mut answers = Vec::new();
    for line in sent.split_inclusive(|byte| *byte == b'\n') {
        let ended = line.strip_suffix(b"\n");
        let content = ended.map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        // The last byte of a line without an end may be the CR of that end.
        let most = if ended.is_none() && content.ends_with(b"\r") { longest + 1 } else { longest };
        if content.len() > most {
            answers.extend(format!("Line too long (more than {longest} bytes).\n").into_bytes());
            return (answers, true);
        }
        if ended.is_none() {
            break;
        }
        if content == b"quit" {
            answers.extend(b"Bye.\n");
            return (answers, true);
        }
        answers.extend([b"Echo: ", content, b"\n"].concat());
    }
    (answers, false)
}

/// Bytes for tcp-echo.
struct Bytes;

impl Bytes {
    fn draw(draw: &mut Draw<'_>) -> Drawn {
        let (salt, n) = (draw.dice.below(1000), draw.dice.size(1, 60_000));
        any_kind(ListenerRole::TcpEcho, pattern(salt, n), draw)
    }
}

/// Lines for line-echo.
struct Lines;

impl Lines {
    fn draw(draw: &mut Draw<'_>) -> Drawn {
        let longest = line_bytes_max(draw.limits);
        let mut text = Vec::new();
        for _ in 0..draw.dice.between(1, 20) {
            let n = draw.dice.size(1, longest + 1) - 1;
            text.extend(Lines::line(draw.dice, n));
        }
        match draw.dice.below(6) {
            0 => text.extend(Lines::ended_by(b"quit", draw.dice)),
            1 => text.extend(Lines::ended_by(&vec![b'x'; longest + draw.dice.between(1, 20)], draw.dice)),
            2 => text.extend(vec![b'x'; draw.dice.between(1, longest + 1)]),
            _ => {}
        }
        any_kind(ListenerRole::LineEcho, text, draw)
    }

    /// A line of `n` bytes that are anything but its end.
    fn line(dice: &mut Dice, n: usize) -> Vec<u8> {
        let mut line = pattern(dice.below(1000), n);
        line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b'.');
        line.extend_from_slice(dice.pick(&[&b"\n"[..], b"\r\n"]));
        line
    }

    /// A line that ends the answers, and more behind it that gets none.
    fn ended_by(line: &[u8], dice: &mut Dice) -> Vec<u8> {
        let junk = dice.size(1, 20_000) - 1;
        [line, b"\r\n", &pattern(5, junk)].concat()
    }
}

/// A client that sends `bytes`, of any kind.
fn any_kind(role: ListenerRole, bytes: Vec<u8>, draw: &mut Draw<'_>) -> Drawn {
    let kind = draw.dice.pick(&[polite, polite, half_closing, half_closing, idle, vanishing, deaf, silent]);
    kind(role, bytes, draw)
}

fn name(role: ListenerRole, bytes: &'static str, lines: &'static str) -> &'static str {
    if role == ListenerRole::LineEcho { lines } else { bytes }
}

/// A client whose `script` has sent `sent`.
fn client(
    kind: &'static str,
    role: ListenerRole,
    script: Vec<Step>,
    sent: &[u8],
    ending: Ending,
    draw: &mut Draw<'_>,
) -> Drawn {
    let expected = answers(role, sent, draw.limits);
    let client = EchoClient::new(kind, script, (role, sent.to_vec()), expected, ending);
    (role, client, Nature::draw(draw.dice))
}

/// The bytes in pieces, some with a pause or a wait for the answers so far between them.
fn in_pieces(role: ListenerRole, bytes: &[u8], draw: &mut Draw<'_>) -> Vec<Step> {
    let (mut script, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let n = draw.dice.size(1, 20_000).max(bytes.len() / 50).min(bytes.len() - at);
        script.push(Step::Send(bytes[at..at + n].to_vec()));
        at += n;
        match draw.dice.below(4) {
            0 => script.push(Step::Pause(draw.dice.millis(0, 60))),
            1 => script.push(Step::AwaitAnswers(answers(role, &bytes[..at], draw.limits).len())),
            _ => {}
        }
    }
    script
}

/// Whether the server ends the connection by itself when it has answered all of this.
fn is_ended_by_server(role: ListenerRole, bytes: &[u8], limits: &Limits) -> bool {
    role == ListenerRole::LineEcho && line_answers(bytes, line_bytes_max(limits)).1
}

/// Sends, gets everything back, and closes, unless the server ends it before.
fn polite(role: ListenerRole, bytes: Vec<u8>, draw: &mut Draw<'_>) -> Drawn {
    let ended = is_ended_by_server(role, &bytes, draw.limits);
    let ending = if ended { Ending::Theirs(Window::promptly()) } else { Ending::Ours };
    let script = in_pieces(role, &bytes, draw);
    client(name(role, "tcp-echo", "line-echo"), role, script, &bytes, ending, draw)
}

/// Ends its direction, and gets everything before the server ends its own.
fn half_closing(role: ListenerRole, bytes: Vec<u8>, draw: &mut Draw<'_>) -> Drawn {
    let mut script = in_pieces(role, &bytes, draw);
    script.push(Step::Fin);
    let kind = name(role, "half-closing tcp-echo", "half-closing line-echo");
    client(kind, role, script, &bytes, Ending::Theirs(Window::promptly()), draw)
}

/// Says nothing more.
fn idle(role: ListenerRole, bytes: Vec<u8>, draw: &mut Draw<'_>) -> Drawn {
    if is_ended_by_server(role, &bytes, draw.limits) || answers(role, &bytes, draw.limits).is_empty() {
        return polite(role, bytes, draw);
    }
    let script = in_pieces(role, &bytes, draw);
    let ending = Ending::Theirs(Window::at(Since::LastWrite, draw.limits.keep_alive_timeout));
    client(name(role, "idle tcp-echo", "idle line-echo"), role, script, &bytes, ending, draw)
}

/// Says nothing at all.
fn silent(role: ListenerRole, _: Vec<u8>, draw: &mut Draw<'_>) -> Drawn {
    let ending = Ending::Theirs(Window::at(Since::Accept, draw.limits.first_byte_timeout));
    client(name(role, "silent tcp-echo", "silent line-echo"), role, Vec::new(), b"", ending, draw)
}

/// Disappears at any moment.
fn vanishing(role: ListenerRole, bytes: Vec<u8>, draw: &mut Draw<'_>) -> Drawn {
    let mut script = in_pieces(role, &bytes, draw);
    script.truncate(draw.dice.between(0, script.len()));
    script.retain(|step| !matches!(step, Step::AwaitAnswers(_)));
    script.push(Step::Pause(Duration::from_micros(draw.dice.size(1, 400_000) as u64)));
    script.push(draw.dice.pick(&[Step::Reset, Step::Close].each_ref()).clone());
    client(name(role, "vanishing tcp-echo", "vanishing line-echo"), role, script, &bytes, Ending::Anyhow, draw)
}

/// Sends a lot and reads nothing.
fn deaf(role: ListenerRole, _: Vec<u8>, draw: &mut Draw<'_>) -> Drawn {
    let line: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz\n";
    let bytes = line.repeat(300_000 / line.len());
    let script = vec![Step::StopReading, Step::Send(bytes.clone())];
    let ending = Ending::Cut(Window::of_slow_read(draw.limits.send_timeout));
    let kind = name(role, "deaf tcp-echo", "deaf line-echo");
    let (role, client, mut nature) = client(kind, role, script, &bytes, ending, draw);
    nature.down.window = nature.down.window.min(16 * 1024);
    (role, client, nature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_knows_lines() {
        const TOO_LONG: &str = "Line too long (more than 5 bytes).\n";
        for (sent, answers, is_ended) in [
            ("a\nb\r\n\nhalf", "Echo: a\nEcho: b\nEcho: \n", false),
            ("12345\r\nquit\r\nno\n", "Echo: 12345\nBye.\n", true),
            ("quit", "", false),
            ("123456\nno\n", TOO_LONG, true),
            // The sixth byte may be the CR of a line that is not too long.
            ("12345\r", "", false),
            ("123456", TOO_LONG, true),
            ("12345\rx", TOO_LONG, true),
        ] {
            assert_eq!(line_answers(sent.as_bytes(), 5), (answers.as_bytes().to_vec(), is_ended), "{sent:?}");
        }
    }
}
