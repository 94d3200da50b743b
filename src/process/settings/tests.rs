use clap::CommandFactory;

use super::*;
use crate::base::limits::ConnectionsBound;

fn read(flags: &[&str]) -> Result<Settings, Refusal> {
    Settings::read(["tidemill"].iter().chain(flags).map(OsString::from).collect())
}

#[test]
fn the_table_is_consistent() {
    Settings::command().debug_assert();
    for argument in Settings::command().get_arguments().filter(|argument| argument.get_long().is_some()) {
        let long = argument.get_long().unwrap();
        let variable = format!("TIDEMILL_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(argument.get_env(), Some(variable.as_ref()), "--{long}");
    }
}

#[test]
fn without_flags_the_limits_are_the_defaults() {
    let settings = read(&[]).unwrap();
    assert_eq!(settings.addresses(), ["127.0.0.1:8080".parse().unwrap()]);
    let connections_bound = ConnectionsBound::Descriptors(10_064);
    assert_eq!(settings.limits(10_064), Limits { connections_bound, ..Limits::default() });
}

#[test]
fn every_flag_reaches_its_limit() {
    let flags = "--tls-handshake-timeout 7s --tls-handshakes-per-turn 3 --header-timeout 1s --first-byte-timeout 2s --body-timeout 3s --send-timeout 4s \
                 --keep-alive-timeout 5s --keep-alive-field 4900ms --drain-timeout 0s --max-header-size 32k --max-headers 7 \
                 --max-target-size 20k --abort-on-close --max-body-size 9 --max-connections 11 --ws-ping-interval 6s --ws-max-message 13";
    let limits = read(&flags.split_whitespace().collect::<Vec<_>>()).unwrap().limits(1024);
    let seconds = Duration::from_secs;
    let expected = Limits {
        handshake_timeout: seconds(7),
        handshakes_per_turn: 3,
        header_timeout: seconds(1),
        first_byte_timeout: seconds(2),
        body_timeout: seconds(3),
        send_timeout: seconds(4),
        keep_alive_timeout: seconds(5),
        idle_told_secs: Some(4),
        drain_timeout: seconds(0),
        head_bytes_max: 32 * 1024,
        inbox_bytes: 32 * 1024,
        fields_max: 7,
        target_bytes_max: 20 * 1024,
        gathered_bytes_max: 9,
        abort_on_close: true,
        connections_max: 11,
        ws_ping_interval: seconds(6),
        ws_message_bytes_max: 13,
        ..Limits::default()
    };
    assert_eq!(limits, expected);
}

#[test]
fn a_small_head_keeps_a_whole_inbox_and_a_smaller_target() {
    let limits = read(&["--max-header-size", "1k"]).unwrap().limits(1024);
    assert_eq!((limits.head_bytes_max, limits.inbox_bytes, limits.target_bytes_max), (1024, 16 * 1024, 1024));
}

#[test]
fn listeners_may_be_repeated_and_separated_by_commas() {
    let settings = read(&["-l", "1,tcp-echo:[::1]:2", "--listen=unix:/run/mill"]).unwrap();
    let listen: Vec<String> = settings.listen.iter().map(ListenAddress::to_string).collect();
    assert_eq!(listen, ["127.0.0.1:1", "tcp-echo:[::1]:2", "unix:/run/mill"]);
}

#[test]
fn the_port_of_a_platform_is_one_at_every_address() {
    let port = |text: &str| platform_port(Some(text.into())).map_err(|refusal| refusal.to_string());
    assert_eq!((port(""), port("0"), port("65535")), (Ok(None), Ok(Some(0)), Ok(Some(65535))));
    for text in ["65536", "+1", "x", "tcp://10.0.0.1:80", " 80"] {
        let expected = "for PORT: expected a port from 0 to 65535 (--listen wins)";
        assert_eq!(port(text), Err(format!("invalid value '{text}' {expected}")));
    }
    let mut settings = read(&[]).unwrap();
    settings.port = Some(3000);
    assert_eq!(settings.addresses(), [":3000".parse().unwrap()]);
    settings.listen = vec!["localhost:1".parse().unwrap()];
    assert_eq!(settings.addresses(), settings.listen);
}

#[test]
fn passed_sockets_stand_for_the_default_and_take_descriptors_like_all_others() {
    let mut settings = read(&[]).unwrap();
    assert_eq!((settings.needs().listeners, settings.has_admin()), (1, false));
    settings.passed = vec![ListenerRole::Admin];
    assert_eq!((settings.needs().listeners, settings.has_admin()), (2, true), "the default is still there");
    settings.passed = vec![ListenerRole::Http; 3];
    assert_eq!((settings.addresses(), settings.needs().listeners), (Vec::new(), 3));
    settings.listen = vec!["localhost:1".parse().unwrap(), "2".parse().unwrap()];
    assert_eq!((settings.addresses().len(), settings.needs().listeners), (2, 6));
}

#[test]
fn a_passed_socket_for_https_needs_a_certificate_like_any_other() {
    let refused = read(&[]).unwrap().take_passed(vec![ListenerRole::Https]).unwrap_err().to_string();
    let missing = if cfg!(feature = "_tls") { "needs a certificate: --tls-cert" } else { "cannot be served" };
    assert!(refused.starts_with(&format!("a socket named https {missing}")), "{refused}");
    let mut settings = read(&[]).unwrap();
    settings.take_passed(vec![ListenerRole::Http, ListenerRole::Admin]).unwrap();
    assert_eq!((settings.has_https(), settings.passed.len()), (false, 2));
    if cfg!(feature = "_tls") {
        let file = |name| format!("{}/tests/corpus/tls/{name}", env!("CARGO_MANIFEST_DIR"));
        let (certificate, key) = (file("ec.pem"), file("ec-sec1-key.pem"));
        let mut settings = read(&["--tls-cert", &certificate, "--tls-key", &key]).unwrap();
        settings.take_passed(vec![ListenerRole::Https]).unwrap();
        assert_eq!((settings.has_https(), &settings.notices[..]), (true, &[][..]));
        let mut settings = read(&["--tls-cert", &certificate, "--tls-key", &key, "--https-redirect"]).unwrap();
        settings.take_passed(vec![ListenerRole::Https]).unwrap();
        assert_eq!(settings.notices, ["--https-redirect has no effect: there is no http: listener"]);
        settings.notices.clear();
        settings.take_passed(vec![ListenerRole::Https, ListenerRole::Http]).unwrap();
        assert_eq!(settings.notices, [""; 0]);
    }
}

#[test]
fn modes_are_octal() {
    assert_eq!(["0660", "600", "0", "0777"].map(mode), [Ok(0o660), Ok(0o600), Ok(0), Ok(0o777)]);
    for text in ["", "0o660", "888", "01777", "-1", "+7", "rw", "99999999999"] {
        assert_eq!(mode(text).unwrap_err(), "expected an octal mode from 0 to 0777, such as 0660", "{text}");
    }
}

#[test]
fn refusals_are_one_line_that_says_what_would_be_right() {
    let line = |flags: &[&str]| read(flags).unwrap_err().to_string();
    assert_eq!(
        line(&["--header-timeout", "x"]),
        "invalid value 'x' for '--header-timeout <DURATION>': expected a duration such as 10s or 500ms"
    );
    assert_eq!(
        line(&["--max-target-size", "17k"]),
        "invalid value '17KiB' for '--max-target-size <SIZE>': expected at most 16KiB, the --max-header-size"
    );
    assert_eq!(
        line(&["--body-timeout", "0s"]),
        "invalid value '0s' for '--body-timeout <DURATION>': expected 1ms to 24h"
    );
    assert_eq!(
        line(&["--log-level", "loud"]),
        "invalid value 'loud' for '--log-level <LEVEL>': expected off, error, warn, info, debug or trace"
    );
    assert_eq!(
        line(&["--backlogs", "7"]),
        "unexpected argument '--backlogs' found (a similar argument exists: '--backlog')"
    );
    assert_eq!(
        line(&["--ws-origin", "https://a:b"]),
        "invalid value 'https://a:b' for '--ws-origin <ORIGIN>': expected an origin such as https://example.org, or *: \
         a port is a number from 1 to 65535"
    );
    assert_eq!(
        line(&["--ws-max-message", "33k"]),
        "invalid value '33k' for '--ws-max-message <SIZE>': expected 1 to 32KiB"
    );
    assert_eq!(
        line(&["--trusted-proxy", "10.0.0.1,proxy"]),
        "invalid value 'proxy' for '--trusted-proxy <CIDR>': expected an address, a range such as 10.0.0.0/8, or unix"
    );
    assert_eq!(line(&["--lab=x"]), "unexpected value 'x' for '--lab' found; no more were expected");
    assert_eq!(
        line(&["/dev/null"]),
        "invalid value '/dev/null' for '[ROOT]': expected a directory or a file: it is neither"
    );
    assert_eq!(line(&["--listen"]), "a value is required for '--listen <ADDR>' but none was supplied");
}
