//! The keys of sessions, for Wireshark and tshark, in the format of NSS (draft-ietf-tls-keylogfile): in a file of their own,
//! in a capture, or in both.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::{KeyLog, NoKeyLog};

use super::pair::mistake;
use super::{FileKind, Mistake};
use crate::net::capture::Tap;

/// Lines that wait for the disk. A handshake makes five.
const LINES_WAITING_MAX: usize = 4096;
/// How long the end of the server waits for lines that are not written yet.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Who gets the keys of sessions. Clones give them to the same.
#[derive(Debug, Clone)]
pub struct SessionKeys(Arc<dyn KeyLog>);

impl SessionKeys {
    /// They go to this `file`, which is opened, to this `capture`, to both, or to nobody. `warn` takes what the user should know
    /// about the file, a line each.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn open(
        file: Option<&Path>,
        capture: Option<Tap>,
        warn: &mut dyn FnMut(String),
    ) -> Result<SessionKeys, Mistake> {
        let Some(path) = file else {
            return Ok(match capture {
                Some(_) => SessionKeys(Arc::new(KeyLogs { file: None, capture })),
                None => SessionKeys::default(),
            });
        };
        let file = KeyLogFile::open(path).map_err(|problem| mistake(FileKind::KeyLog, path, problem))?;
        warn(format!("{}: it gets the keys of all TLS sessions: whoever reads it can decrypt them", path.display()));
        if fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0) {
            let others = "other users of this machine may read or write it (chmod 600 forbids it)";
            warn(format!("{}: {others}", path.display()));
        }
        Ok(SessionKeys(Arc::new(KeyLogs { file: Some(file), capture })))
    }

    /// As a configuration takes it.
    pub(super) fn key_log(&self) -> Arc<dyn KeyLog> {
        Arc::clone(&self.0)
    }
}

impl Default for SessionKeys {
    /// Nobody gets them.
    fn default() -> SessionKeys {
        SessionKeys(Arc::new(NoKeyLog {}))
    }
}

/// A file and a capture, of which one at least is there.
#[derive(Debug)]
struct KeyLogs {
    file: Option<KeyLogFile>,
    capture: Option<Tap>,
}

impl KeyLog for KeyLogs {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let line = format!("{label} {} {}\n", Hex(client_random), Hex(secret));
        if let Some(tap) = &self.capture {
            tap.add_secret(&line);
        }
        if let Some(file) = &self.file {
            file.add(line);
        }
    }
}

/// A file that gets a line for each secret. A thread writes it: handshakes never wait for the disk.
struct KeyLogFile {
    /// `None` at the end.
    lines: Option<SyncSender<String>>,
    /// Hangs up when all is written.
    written: Mutex<Receiver<()>>,
    /// Whether lines were dropped because the disk does not take them fast enough.
    has_dropped: Mutex<bool>,
}

impl KeyLogFile {
    /// Opens `path` to append to it. If it is not there, it is made, for this user alone.
    ///
    /// # Errors
    /// Why it cannot be written, in a few words.
    fn open(path: &Path) -> Result<KeyLogFile, String> {
        // Opening a pipe that nobody reads would wait for a reader.
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err("it is no regular file".into());
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let start = |file| KeyLogFile::write_to(file, path.display().to_string());
        file.and_then(start).map_err(|error| format!("it cannot be written: {error}"))
    }

    fn write_to(file: File, name: String) -> io::Result<KeyLogFile> {
        let ((lines, waiting), (end, written)) = (sync_channel(LINES_WAITING_MAX), channel());
        let run = move || {
            // The other end sees that this one is dropped.
            let _end = end;
            write_all(file, &name, &waiting);
        };
        thread::Builder::new().name("tls-key-log".into()).spawn(run)?;
        Ok(KeyLogFile { lines: Some(lines), written: Mutex::new(written), has_dropped: Mutex::new(false) })
    }

    fn add(&self, line: String) {
        let Some(lines) = &self.lines else { return };
        if lines.try_send(line).is_err() {
            let mut has_dropped = self.has_dropped.lock().unwrap_or_else(PoisonError::into_inner);
            if !*has_dropped {
                log::error!("keys are missing in the key log: the disk does not take them fast enough");
            }
            *has_dropped = true;
        }
    }
}

/// Writes lines until there will be none. What is wrong is said once.
fn write_all(mut file: File, name: &str, lines: &Receiver<String>) {
    let mut has_complained = false;
    for line in lines {
        if let Err(error) = file.write_all(line.as_bytes())
            && !has_complained
        {
            has_complained = true;
            log::error!("{name}: keys are missing in it: {error}");
        }
    }
}

impl Drop for KeyLogFile {
    fn drop(&mut self) {
        self.lines = None;
        let written = self.written.get_mut().unwrap_or_else(PoisonError::into_inner);
        if written.recv_timeout(END_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            log::warn!("the last keys may be missing in the key log");
        }
    }
}

impl fmt::Debug for KeyLogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLogFile").finish_non_exhaustive()
    }
}

/// Bytes as hexadecimal digits.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use super::super::test_pki::{Folder, client_config, client_config_of, handshake, options};
    use super::super::{LiveConfig, TlsOptions, provider::provider};
    use super::*;

    fn is_hex(text: &str, digits: usize) -> bool {
        text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }

    #[test]
    fn the_keys_of_each_session_are_appended() {
        let folder = Folder::new();
        let file = folder.0.join("keys");
        let schemes = provider().signature_verification_algorithms.supported_schemes();
        let pair = folder.self_signed("a", &["a.example"]);
        for client in [client_config(), client_config_of(schemes, &[&rustls::version::TLS12])] {
            let mut warnings = Vec::new();
            let keys = SessionKeys::open(Some(&file), None, &mut |line| warnings.push(line)).unwrap();
            let live = LiveConfig::load(TlsOptions { keys, ..options([pair.clone()]) }, &mut |_| {}).unwrap();
            assert!(warnings.len() == 1 && warnings[0].contains("can decrypt"), "{warnings:?}");
            assert!(handshake(live.current(), &Arc::new(client), "a.example").is_ok());
        }
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
        let labels: Vec<&str> = lines.iter().map(|line| line[0]).collect();
        for label in ["CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0", "CLIENT_RANDOM"] {
            assert_eq!(labels.iter().filter(|other| **other == label).count(), 1, "{labels:?}");
        }
        for line in lines {
            let digits = if line[0] == "CLIENT_RANDOM" { 96 } else { line[2].len() };
            assert!(line.len() == 3 && is_hex(line[1], 64) && is_hex(line[2], digits) && digits >= 64, "{line:?}");
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_refused() {
        let folder = Folder::new();
        let refused = |path: &Path| KeyLogFile::open(path).err().unwrap();
        assert_eq!(refused(&folder.0), "it is no regular file");
        assert!(refused(&folder.0.join("missing/keys")).starts_with("it cannot be written: "));
    }

    #[test]
    fn a_full_disk_does_not_end_anything() {
        let log = KeyLogFile::write_to(File::options().write(true).open("/dev/full").unwrap(), "full".into()).unwrap();
        (0..3).for_each(|_| log.add("LABEL 01 02\n".into()));
    }
}
