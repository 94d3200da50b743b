//! What can be set about HTTP/2.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Args;

use super::quantity::{duration, format_size, number, size};
use super::settings::{DAY, MS, switch};
use super::usage::{Given, Objection};
use crate::base::limits::Http2Limits;

/// The help's heading of these settings.
const HTTP2: &str = "HTTP/2";

const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;
const GIB: u32 = 1 << 30;

/// No window is larger (RFC 9113 §6.9.1).
const WINDOW_MAX: u32 = 0x7fff_ffff;
/// A connection's window begins with so much, and cannot be made smaller (RFC 9113 §6.9.2).
const CONNECTION_WINDOW_MIN: u32 = 65_535;
/// SETTINGS_MAX_FRAME_SIZE is in this range (RFC 9113 §6.5.2).
const FRAME_SIZES: RangeInclusive<u32> = 16_384..=16_777_215;
/// The output ring of a connection. More output than that never waits.
const OUTPUT_MAX: u32 = 64 * KIB;

/// Whether there is HTTP/2, and what bounds it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = HTTP2)]
pub struct Http2Settings {
    /// Do without HTTP/2: do not offer it on https: listeners, and do not recognise it on http: listeners
    #[arg(long, env = "TIDEMILL_NO_HTTP2", hide_env = true, value_parser = switch)]
    no_http2: bool,

    /// Streams of a connection at a time, 1 to 1000
    #[arg(
        long, value_name = "N", env = "TIDEMILL_HTTP2_STREAMS", hide_env = true,
        default_value = "100", value_parser = number(1..=1000)
    )]
    http2_streams: u32,

    /// Content that a client may send on a stream before it is consumed, 1KiB to 2147483647
    #[arg(
        long, value_name = "SIZE", env = "TIDEMILL_HTTP2_STREAM_WINDOW", hide_env = true,
        default_value = "64KiB", value_parser = bytes(KIB..=WINDOW_MAX)
    )]
    http2_stream_window: u32,

    /// What that grows to for an upload that is consumed as fast as it arrives, the --http2-stream-window to 2147483647
    /// [default: 8MiB, or the --http2-stream-window if that is larger]
    #[arg(
        long, value_name = "SIZE", env = "TIDEMILL_HTTP2_UPLOAD_WINDOW", hide_env = true,
        value_parser = bytes(KIB..=WINDOW_MAX)
    )]
    http2_upload_window: Option<u32>,

    /// Content that a client may send on all streams before it is consumed, 65535 to 2147483647, and at least the
    /// --http2-stream-window [default: 1MiB, or the --http2-stream-window if that is larger]
    #[arg(
        long, value_name = "SIZE", env = "TIDEMILL_HTTP2_CONNECTION_WINDOW", hide_env = true,
        value_parser = bytes(CONNECTION_WINDOW_MIN..=WINDOW_MAX)
    )]
    http2_connection_window: Option<u32>,

    /// Payload of a frame from a client, 16KiB to 16777215
    #[arg(
        long, value_name = "SIZE", env = "TIDEMILL_HTTP2_FRAME_SIZE", hide_env = true,
        default_value = "16KiB", value_parser = bytes(FRAME_SIZES)
    )]
    http2_frame_size: u32,

    /// Table of fields that each side keeps for the other, so that a field that repeats is sent as a number, 0 to 64KiB
    #[arg(
        long, value_name = "SIZE", env = "TIDEMILL_HTTP2_HEADER_TABLE", hide_env = true,
        default_value = "4KiB", value_parser = bytes(0..=64 * KIB)
    )]
    http2_header_table: u32,

    /// Fields of a request, with 32 bytes for each, 1KiB to 1MiB; --max-headers bounds their number
    #[arg(
        long, value_name = "SIZE", env = "TIDEMILL_HTTP2_HEADER_LIST", hide_env = true,
        default_value = "32KiB", value_parser = bytes(KIB..=MIB)
    )]
    http2_header_list: u32,

    /// CONTINUATION frames of a field block, 0 to 1000
    #[arg(
        long, value_name = "N", env = "TIDEMILL_HTTP2_CONTINUATIONS", hide_env = true,
        default_value = "8", value_parser = number(0..=1000)
    )]
    http2_continuations: u32,

    /// Time until a client acknowledges the SETTINGS, 1ms to 24h
    #[arg(
        long, value_name = "DURATION", env = "TIDEMILL_HTTP2_SETTINGS_TIMEOUT", hide_env = true,
        default_value = "10s", value_parser = duration(MS..=DAY)
    )]
    http2_settings_timeout: Duration,

    /// Output that waits for a client to read it, and behind which nothing is read from it, 4KiB to 64KiB
    #[arg(
        long, value_name = "SIZE", env = "TIDEMILL_HTTP2_OUTPUT", hide_env = true,
        default_value = "64KiB", value_parser = bytes(4 * KIB..=OUTPUT_MAX)
    )]
    http2_output: u32,

    /// Time in which a stream whose window is shut must send the --http2-stall-size, 1ms to 24h
    #[arg(
        long, value_name = "DURATION", env = "TIDEMILL_HTTP2_STALL_TIMEOUT", hide_env = true,
        default_value = "30s", value_parser = duration(MS..=DAY)
    )]
    http2_stall_timeout: Duration,

    /// Content that a client must let through in that time, 1 to 1GiB
    #[arg(
        long, value_name = "SIZE", env = "TIDEMILL_HTTP2_STALL_SIZE", hide_env = true,
        default_value = "16KiB", value_parser = bytes(1..=GIB)
    )]
    http2_stall_size: u32,

    /// Requests that a client may reset before they are answered, until new ones are delayed, 1 to 1000000; a request that
    /// ends normally makes up for one
    #[arg(
        long, value_name = "N", env = "TIDEMILL_HTTP2_RESETS", hide_env = true,
        default_value = "100", value_parser = number(1..=1_000_000)
    )]
    http2_resets: u32,

    /// How long each of these is delayed, 0s to 24h
    #[arg(
        long, value_name = "DURATION", env = "TIDEMILL_HTTP2_RESET_DELAY", hide_env = true,
        default_value = "100ms", value_parser = duration(Duration::ZERO..=DAY)
    )]
    http2_reset_delay: Duration,

    /// Glitches of a client, such as frames that do nothing, until its connection is closed, 1 to 1000000
    #[arg(
        long, value_name = "N", env = "TIDEMILL_HTTP2_GLITCHES", hide_env = true,
        default_value = "100", value_parser = number(1..=1_000_000)
    )]
    http2_glitches: u32,

    /// How many of these are forgiven in a second, 0 to 1000000
    #[arg(
        long, value_name = "N", env = "TIDEMILL_HTTP2_GLITCHES_PER_SECOND", hide_env = true,
        default_value = "10", value_parser = number(0..=1_000_000)
    )]
    http2_glitches_per_second: u32,

    /// What DATA frames may lack to 256 bytes, altogether, while their content waits to be consumed, and what windows for
    /// content of ours may lack to 256 bytes until as much is sent, 1KiB to 1GiB
    #[arg(
        long, value_name = "SIZE", env = "TIDEMILL_HTTP2_SMALL_DATA", hide_env = true,
        default_value = "64KiB", value_parser = bytes(KIB..=GIB)
    )]
    http2_small_data: u32,

    /// Memory for content that has arrived and that nobody has taken, over all connections, 0 to 1GiB; each connection has
    /// as much as the --http2-stream-window in any case
    #[arg(
        long, value_name = "SIZE", env = "TIDEMILL_HTTP2_HELD", hide_env = true,
        default_value = "4MiB", value_parser = bytes(0..=GIB)
    )]
    http2_held: u32,
    /// Memory for content that handlers keep until they answer, over all connections, 0 to 1GiB; each connection has half the
    /// --http2-stream-window in any case
    #[arg(
        long, value_name = "SIZE", env = "TIDEMILL_HTTP2_KEPT", hide_env = true,
        default_value = "4MiB", value_parser = bytes(0..=GIB)
    )]
    http2_kept: u32,
}

/// A parser for sizes that a limit can hold.
fn bytes(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync {
    let size = size(u64::from(*range.start())..=u64::from(*range.end()));
    move |text| size(text).map(|bytes| bytes as u32)
}

impl Http2Settings {
    /// What no single value shows.
    pub(super) fn check(&self) -> Result<(), Objection> {
        let stream = self.http2_stream_window;
        let windows = [
            ("http2_upload_window", self.http2_upload_window),
            ("http2_connection_window", self.http2_connection_window),
        ];
        for (id, window) in windows {
            if let Some(window) = window.filter(|window| *window < stream) {
                let (window, stream) = (format_size(window.into()), format_size(stream.into()));
                let problem = format!("expected at least {stream}, the --http2-stream-window");
                return Err(Objection::new(id, window, problem));
            }
        }
        Ok(())
    }

    /// The flags that say something and have no effect without HTTP/2, without their dashes.
    pub(super) fn without_effect<'a>(&self, given: &'a Given<'_>) -> Vec<&'a str> {
        let arguments = given.arguments().filter(|argument| argument.get_help_heading() == Some(HTTP2));
        let flags = arguments.filter(|argument| argument.get_id() != "no_http2").filter_map(|flag| flag.get_long());
        if self.no_http2 { flags.collect() } else { Vec::new() }
    }

    /// Whether ALPN is to offer it.
    pub(super) fn is_in_alpn(&self) -> bool {
        !self.no_http2
    }

    /// The limits that these settings mean.
    pub(super) fn limits(&self) -> Http2Limits {
        let defaults = Http2Limits::default();
        let stream = self.http2_stream_window;
        Http2Limits {
            is_offered: !self.no_http2,
            streams_max: self.http2_streams,
            stream_window_bytes: stream,
            upload_window_bytes_max: self.http2_upload_window.unwrap_or(defaults.upload_window_bytes_max.max(stream)),
            connection_window_bytes: self
                .http2_connection_window
                .unwrap_or(defaults.connection_window_bytes.max(stream)),
            frame_bytes_max: self.http2_frame_size,
            header_table_bytes: self.http2_header_table,
            header_list_bytes_max: self.http2_header_list,
            continuations_max: self.http2_continuations,
            settings_timeout: self.http2_settings_timeout,
            output_bytes_max: self.http2_output,
            stall_timeout: self.http2_stall_timeout,
            stall_bytes: self.http2_stall_size,
            resets_max: self.http2_resets,
            reset_delay: self.http2_reset_delay,
            glitches_max: self.http2_glitches,
            glitches_per_second: self.http2_glitches_per_second,
            small_data_bytes_max: self.http2_small_data,
            held_bytes_max: self.http2_held,
            kept_bytes_max: self.http2_kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::base::limits::Limits;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        http2: Http2Settings,
    }

    fn read(flags: &str) -> Result<Http2Settings, String> {
        let words = std::iter::once("tidemill").chain(flags.split_whitespace());
        Flags::try_parse_from(words).map(|flags| flags.http2).map_err(|error| error.to_string())
    }

    fn limits(flags: &str) -> Http2Limits {
        let settings = read(flags).unwrap();
        settings.check().unwrap();
        settings.limits()
    }

    #[test]
    fn without_flags_the_limits_are_the_defaults() {
        assert_eq!(limits(""), Http2Limits::default());
        assert_eq!(OUTPUT_MAX as usize, Limits::default().outbox_bytes);
    }

    #[test]
    fn every_flag_reaches_its_limit() {
        let flags = "--no-http2 --http2-streams 1 --http2-stream-window 2k --http2-upload-window 3k --http2-connection-window 100k \
                     --http2-frame-size 20k --http2-header-table 5 --http2-header-list 6k --http2-continuations 7 \
                     --http2-settings-timeout 8s --http2-output 9k --http2-stall-timeout 10s --http2-stall-size 11 \
                     --http2-resets 12 --http2-reset-delay 13ms --http2-glitches 14 --http2-glitches-per-second 15 \
                     --http2-small-data 16k --http2-held 17k --http2-kept 18k";
        let expected = Http2Limits {
            is_offered: false,
            streams_max: 1,
            stream_window_bytes: 2 * KIB,
            upload_window_bytes_max: 3 * KIB,
            connection_window_bytes: 100 * KIB,
            frame_bytes_max: 20 * KIB,
            header_table_bytes: 5,
            header_list_bytes_max: 6 * KIB,
            continuations_max: 7,
            settings_timeout: Duration::from_secs(8),
            output_bytes_max: 9 * KIB,
            stall_timeout: Duration::from_secs(10),
            stall_bytes: 11,
            resets_max: 12,
            reset_delay: Duration::from_millis(13),
            glitches_max: 14,
            glitches_per_second: 15,
            small_data_bytes_max: 16 * KIB,
            held_bytes_max: 17 * KIB,
            kept_bytes_max: 18 * KIB,
        };
        assert_eq!(limits(flags), expected);
    }

    #[test]
    fn the_bounds_themselves_are_allowed() {
        for (flag, bounds) in [
            ("streams", ["1", "1000"]),
            ("stream-window", ["1k", "2147483647"]),
            ("frame-size", ["16384", "16777215"]),
            ("header-table", ["0", "64k"]),
            ("header-list", ["1k", "1m"]),
            ("continuations", ["0", "1000"]),
            ("settings-timeout", ["1ms", "24h"]),
            ("output", ["4k", "64k"]),
            ("stall-timeout", ["1ms", "24h"]),
            ("stall-size", ["1", "1g"]),
            ("resets", ["1", "1000000"]),
            ("reset-delay", ["0s", "24h"]),
            ("glitches", ["1", "1000000"]),
            ("glitches-per-second", ["0", "1000000"]),
            ("small-data", ["1k", "1g"]),
        ] {
            for bound in bounds {
                limits(&format!("--http2-{flag} {bound}"));
            }
        }
        let windows = limits("--http2-stream-window 1k --http2-upload-window 1k --http2-connection-window 65535");
        assert_eq!((windows.upload_window_bytes_max, windows.connection_window_bytes), (KIB, CONNECTION_WINDOW_MIN));
    }

    #[test]
    fn what_is_impossible_is_refused_with_what_would_be_right() {
        for (flag, value, expected) in [
            ("streams", "0", "expected a number from 1 to 1000"),
            ("streams", "1001", "expected a number from 1 to 1000"),
            ("stream-window", "1023", "expected 1KiB to 2147483647"),
            ("stream-window", "2g", "expected 1KiB to 2147483647"),
            ("upload-window", "2147483648", "expected 1KiB to 2147483647"),
            ("connection-window", "65534", "expected 65535 to 2147483647"),
            ("connection-window", "4g", "expected 65535 to 2147483647"),
            ("frame-size", "16383", "expected 16KiB to 16777215"),
            ("frame-size", "16m", "expected 16KiB to 16777215"),
            ("header-table", "65k", "expected 0 to 64KiB"),
            ("header-table", "-1", "unexpected argument"),
            ("header-list", "0", "expected 1KiB to 1MiB"),
            ("continuations", "some", "expected a number from 0 to 1000"),
            ("settings-timeout", "0s", "expected 1ms to 24h"),
            ("settings-timeout", "10", "expected a duration such as 10s or 500ms"),
            ("output", "65k", "expected 4KiB to 64KiB"),
            ("stall-timeout", "25h", "expected 1ms to 24h"),
            ("stall-size", "0", "expected 1 to 1GiB"),
            ("resets", "0", "expected a number from 1 to 1000000"),
            ("reset-delay", "-1s", "unexpected argument"),
            ("glitches", "0", "expected a number from 1 to 1000000"),
            ("glitches-per-second", "1000001", "expected a number from 0 to 1000000"),
            ("small-data", "much", "expected a size such as 64k or 1MiB"),
        ] {
            let error = read(&format!("--http2-{flag} {value}")).unwrap_err();
            assert!(error.contains(expected), "{flag} {value}: {error}");
        }
    }

    #[test]
    fn windows_that_are_not_set_are_as_large_as_that_of_a_stream_and_others_must_be() {
        let windows = |flags: &str| {
            let limits = limits(flags);
            (limits.upload_window_bytes_max, limits.connection_window_bytes)
        };
        assert_eq!(windows("--http2-stream-window 1k"), (8 * MIB, MIB));
        assert_eq!(windows("--http2-stream-window 2m"), (8 * MIB, 2 * MIB));
        assert_eq!(windows("--http2-stream-window 9m"), (9 * MIB, 9 * MIB));
        assert_eq!(windows("--http2-stream-window 2m --http2-upload-window 3m"), (3 * MIB, 2 * MIB));
        for flags in [
            "--http2-upload-window 65535",
            "--http2-connection-window 65535",
            "--http2-stream-window 2m --http2-upload-window 1m",
            "--http2-stream-window 2m --http2-connection-window 1m",
        ] {
            assert!(read(flags).unwrap().check().is_err(), "{flags}");
        }
    }
}
