//! `tidemill ask --pcapng c=17`: what an open connection says from now on, as a file for Wireshark.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::link::Link;
use super::{ANSWER_BYTES_MAX, reason};
use crate::net::listener::Address;
use crate::process::usage::Refusal;

/// How much is read at a time, in bytes.
const READ_BYTES: usize = 256 * 1024;
/// The type of a block that is a packet, and the shortest block (draft-ietf-opsawg-pcapng §3.1, §4.3).
const PACKET: u32 = 6;
const BLOCK_BYTES_MIN: usize = 12;
/// The longest head of an answer, in bytes.
const HEAD_BYTES_MAX: u64 = 64 * 1024;

/// What is to be captured, and where to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CaptureWish {
    connection: u64,
    bytes_max: usize,
    /// `None`: standard output.
    file: Option<PathBuf>,
}

impl CaptureWish {
    /// The wish in these words: `c=N`, and perhaps a file.
    pub(super) fn of(words: &[String], bytes_max: usize) -> Result<CaptureWish, Refusal> {
        let wrong = || Refusal::usage("expected 'tidemill ask --pcapng c=N [FILE]'".into());
        let connection_of = |word: &String| {
            let digits = word.strip_prefix("c=")?;
            digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let (connection, file) = match words {
            [key] => (key, None),
            [key, file] => (key, Some(file)),
            _ => return Err(wrong()),
        };
        let connection = connection_of(connection).ok_or_else(wrong)?;
        let file = file.filter(|file| *file != "-").map(PathBuf::from);
        if file.is_none() && io::stdout().is_terminal() {
            return Err(Refusal::usage("a capture is no text: name a FILE, or pipe it to 'wireshark -k -i -'".into()));
        }
        Ok(CaptureWish { connection, bytes_max, file })
    }

    /// Captures until the connection ends, the size is reached, or nobody takes it any more. The text is for standard output, which
    /// may have got the capture; the error is one line for the user.
    pub(super) fn fulfil(&self, admin: &Address) -> Result<String, String> {
        let cannot = |error: &io::Error| format!("cannot ask {admin}: {}", reason(error, super::PATIENCE));
        let target = format!("/capture?c={}&bytes={}", self.connection, self.bytes_max);
        let mut answer = Link::asking(admin, &target)
            .map(|link| BufReader::with_capacity(READ_BYTES, link))
            .map_err(|error| cannot(&error))?;
        let status = status(&mut answer).map_err(|error| cannot(&error))?;
        if status != "200" {
            let mut text = String::new();
            answer.take(ANSWER_BYTES_MAX).read_to_string(&mut text).map_err(|error| cannot(&error))?;
            return Err(match text.starts_with("c=") || text.contains("captures are under way") {
                true => text.trim_end().to_owned(),
                false => cannot(&io::Error::new(ErrorKind::InvalidData, "what answers there cannot capture")),
            });
        }
        answer.get_ref().wait_for_ever().map_err(|error| cannot(&error))?;
        let packets = match &self.file {
            None => copy_blocks(answer, io::stdout().lock()),
            Some(path) => OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(path)
                .and_then(|file| copy_blocks(answer, file)),
        };
        let name = self.file.as_ref().map_or("standard output".into(), |path| path.display().to_string());
        let packets = packets.map_err(|error| format!("cannot write the capture to {name}: {error}"))?;
        eprint_line(&format!("{packets} packets of c={} captured", self.connection));
        Ok(String::new())
    }
}

/// Reads the head of the answer. Returns its status.
fn status(answer: &mut impl BufRead) -> io::Result<String> {
    let malformed = || io::Error::new(ErrorKind::InvalidData, "what answers there is no admin listener");
    let mut head = answer.take(HEAD_BYTES_MAX);
    let mut line = String::new();
    head.read_line(&mut line)?;
    let status = line.split(' ').nth(1).ok_or_else(malformed)?.to_owned();
    while line != "\r\n" {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(malformed());
        }
    }
    Ok(status)
}

/// Copies whole blocks as they come, so that what is there can be read whenever this ends. Returns how many packets they have. If
/// the server has gone, or whoever reads the output, that is the end.
fn copy_blocks(mut from: impl BufRead, mut to: impl Write) -> io::Result<u64> {
    let (mut blocks, mut packets) = (Vec::new(), 0);
    loop {
        let n = match from.fill_buf() {
            Ok([]) => return Ok(packets),
            Ok(bytes) => {
                blocks.extend_from_slice(bytes);
                bytes.len()
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(packets),
            Err(error) => return Err(error),
        };
        from.consume(n);
        let whole = whole_blocks(&blocks, &mut packets)?;
        match to.write_all(&blocks[..whole]).and_then(|()| to.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(packets),
            Err(error) => return Err(error),
        }
        blocks.drain(..whole);
    }
}

/// How many bytes whole blocks have at the beginning. Adds the number of packets among them to `packets`.
fn whole_blocks(bytes: &[u8], packets: &mut u64) -> io::Result<usize> {
    let number = |at: usize| bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes);
    let mut at = 0;
    while let (Some(kind), Some(length)) = (number(at), number(at + 4)) {
        let length = length as usize;
        if length < BLOCK_BYTES_MIN {
            return Err(io::Error::new(ErrorKind::InvalidData, "what comes is no capture"));
        }
        if at + length > bytes.len() {
            break;
        }
        at += length;
        *packets += u64::from(kind == PACKET);
    }
    Ok(at)
}

/// A line on stderr, where it disturbs no capture.
fn eprint_line(line: &str) {
    if let Err(error) = writeln!(io::stderr(), "{line}") {
        log::debug!("stderr has gone: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(words: &[&str]) -> Option<(u64, Option<PathBuf>)> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        CaptureWish::of(&words, 1 << 20).ok().map(|wish| (wish.connection, wish.file))
    }

    #[test]
    fn a_wish_names_a_connection_and_perhaps_a_file() {
        assert_eq!(wish(&["c=17", "x.pcapng"]), Some((17, Some("x.pcapng".into()))));
        for words in
            [&[][..], &["x"], &["6a5e-c17-r3", "x"], &["c=+1", "x"], &["c=1", "x", "y"], &["r=1", "x"], &["x", "c=1"]]
        {
            assert_eq!(wish(words), None, "{words:?}");
        }
    }

    #[test]
    fn blocks_are_copied_whole_however_they_come() {
        let block = |kind: u8, length: u8| {
            let mut block = vec![0; length.into()];
            (block[0], block[4], block[usize::from(length) - 4]) = (kind, length, length);
            block
        };
        let all = [block(10, 28), block(6, 32), block(6, 12)].concat();
        for end in 0..=all.len() {
            let mut out = Vec::new();
            let packets = copy_blocks(BufReader::with_capacity(7, &all[..end]), &mut out).unwrap();
            let (whole, expected) = match end {
                0..28 => (0, 0),
                28..60 => (28, 0),
                60..72 => (60, 1),
                _ => (72, 2),
            };
            assert_eq!((out.as_slice(), packets), (&all[..whole], expected), "{end}");
        }
        assert!(copy_blocks(&[0; 12][..], Vec::new()).is_err());
    }
}
