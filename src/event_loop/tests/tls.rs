use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::stage::Stage;
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::net::Signal;
use crate::net::tls::{LiveConfig, PairFiles, TlsOptions};
use crate::observe::tls::Failure;

/// A pair in a folder of its own, which goes with it.
pub(super) struct Pair(PathBuf);

impl Pair {
    pub(super) fn new(name: &str) -> Pair {
        let folder = std::env::temp_dir().join(format!("tidemill-{}-loop-{name}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let pair = Pair(folder);
        pair.replace("ec.pem", "ec-sec1-key.pem");
        pair
    }

    pub(super) fn files(&self) -> PairFiles {
        PairFiles { certificate: self.0.join("cert.pem"), key: self.0.join("key.pem") }
    }

    /// Puts files of tests/corpus/tls in the place of those of the pair.
    fn replace(&self, certificate: &str, key: &str) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/tls");
        for (from, to) in [(certificate, self.files().certificate), (key, self.files().key)] {
            fs::copy(corpus.join(from), &to).unwrap();
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn stage(pair: &Pair) -> (Stage, Arc<LiveConfig>) {
    let options = TlsOptions { pairs: vec![pair.files()], ..TlsOptions::default() };
    let config = Arc::new(LiveConfig::load(options, &mut |_| {}).unwrap());
    let mut stage = Stage::with_roles(&[ListenerRole::Https], Limits::default());
    stage.event_loop.keep_tls(Arc::clone(&config));
    (stage, config)
}

fn subject(config: &LiveConfig) -> String {
    config.certificates()[0].subject.clone()
}

#[test]
fn files_that_changed_are_noticed_within_ten_seconds() {
    let pair = Pair::new("check");
    let (mut stage, config) = stage(&pair);
    assert_eq!((subject(&config).as_str(), stage.sleeps()), ("CN=ec.example", Some(10_000)));
    pair.replace("rsa.pem", "rsa-pkcs8-key.pem");
    stage.turn_after(9_999);
    assert_eq!((subject(&config).as_str(), stage.sleeps()), ("CN=ec.example", Some(1)));
    stage.turn_after(1);
    assert_eq!((subject(&config).as_str(), stage.sleeps()), ("CN=rsa.example", Some(10_000)));
    pair.replace("ec.pem", "ec-sec1-key.pem");
    stage.turn_after(10_000);
    assert_eq!((subject(&config).as_str(), stage.sleeps()), ("CN=ec.example", Some(10_000)), "again and again");
}

#[test]
fn hup_reads_the_files_at_once() {
    let pair = Pair::new("hup");
    let (mut stage, config) = stage(&pair);
    stage.turn();
    pair.replace("rsa.pem", "rsa-pkcs8-key.pem");
    stage.signal(Signal::Reload);
    stage.turn();
    assert_eq!((subject(&config).as_str(), stage.sleeps()), ("CN=rsa.example", Some(10_000)));
}

/// However it trickles, the deadline of a handshake stands (10 s).
#[test]
fn a_handshake_that_takes_too_long_is_counted_once() {
    let pair = Pair::new("late");
    let (mut stage, _) = stage(&pair);
    let client = stage.client();
    stage.turn_after(5_000);
    stage.send(&client, "\u{16}\u{3}\u{1}\0");
    stage.turn();
    let failed = |stage: &Stage| stage.counters().tls.failed.clone();
    stage.turn_after(4_999);
    assert!(failed(&stage).is_empty());
    stage.turn_after(1);
    stage.turn_after(1_000);
    assert_eq!(failed(&stage).into_iter().collect::<Vec<_>>(), [(Failure::Silent("timeout"), 1)]);
    assert_eq!(stage.event_loop.connections(), 0);
}
