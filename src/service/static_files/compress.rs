//! Compression of whole files: done once for each version of a file, on a job thread, and kept.

use std::io::{self, Read, Write};

use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::http::negotiate::Coding;

const GZIP_LEVEL: u32 = 6;
const BROTLI_QUALITY: i32 = 6;
const ZSTD_LEVEL: i32 = 10;

/// The base-2 logarithm of brotli's window: 4 MiB, which is also what a decoder needs.
const BROTLI_WINDOW_LOG: i32 = 22;

const DECODING_BUFFER_BYTES: usize = 16 * 1024;

/// `content` in another coding, or `None` if that would not be smaller. The same content always gives the same bytes,
/// so that they can share a strong validator. Takes time: about 40 ms for 1 MiB, so never call it on the loop.
///
/// The first MiB of two samples, pages and scripts of a language's documentation; the best of three runs in an optimised
/// build:
///
/// | coding | HTML | | JavaScript | |
/// |---|--:|--:|--:|--:|
/// | gzip 6 | 19 ms | 23.9 % | 22 ms | 20.9 % |
/// | brotli 6 | 37 ms | 21.0 % | 41 ms | 19.4 % |
/// | zstd 10 | 29 ms | 20.6 % | 22 ms | 19.4 % |
///
/// The next levels that change anything (gzip 8, brotli 7, zstd 12) took up to two and a half times as long, and made
/// the samples smaller by at most half a hundredth of their length.
///
/// # Errors
/// When an encoder has no memory.
pub fn compress(coding: Coding, content: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let encoded = match coding {
        Coding::Identity => return Ok(None),
        Coding::Gzip => gzip(content),
        Coding::Brotli => brotli(content),
        Coding::Zstd => zstd::bulk::compress(content, ZSTD_LEVEL),
    }?;
    Ok((encoded.len() < content.len()).then(|| into_exact(encoded)))
}

/// Neither a name nor a time is put into the header: both would be parts of the bytes that change by themselves.
fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL));
    encoder.write_all(content)?;
    encoder.finish()
}

fn brotli(mut content: &[u8]) -> io::Result<Vec<u8>> {
    let (quality, lgwin) = (BROTLI_QUALITY, BROTLI_WINDOW_LOG);
    let params = BrotliEncoderParams { quality, lgwin, size_hint: content.len(), ..BrotliEncoderParams::default() };
    let mut encoded = Vec::new();
    brotli::BrotliCompress(&mut content, &mut encoded, &params)?;
    Ok(encoded)
}

/// `content`, which is in this coding, decoded; `None` if that is more than `bytes_max` bytes. Stops there, so that what
/// becomes endless costs no more. Takes time, so never call it on the loop.
///
/// # Errors
/// When `content` is not in this coding, or ends too early.
pub fn decompress(coding: Coding, content: &[u8], bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut decoded = Vec::new();
    let reader: &mut dyn Read = match coding {
        Coding::Identity => &mut &content[..],
        // A gzip file may have several members (RFC 1952 §2.2).
        Coding::Gzip => &mut MultiGzDecoder::new(content),
        Coding::Brotli => &mut brotli::Decompressor::new(content, DECODING_BUFFER_BYTES),
        Coding::Zstd => &mut zstd::Decoder::with_buffer(content)?,
    };
    reader.take(bytes_max + 1).read_to_end(&mut decoded)?;
    Ok((decoded.len() as u64 <= bytes_max).then(|| into_exact(decoded)))
}

/// Without spare capacity: what is kept in a cache should cost what it says.
fn into_exact(mut encoded: Vec<u8>) -> Vec<u8> {
    encoded.shrink_to_fit();
    encoded
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    const ALL: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

    fn decoded(coding: Coding, encoded: &[u8]) -> Vec<u8> {
        decompress(coding, encoded, 1 << 30).expect("what we encoded can be decoded").expect("it is not that large")
    }

    #[test]
    fn what_is_decoded_is_bounded_and_whole() {
        let content = page(100_000);
        for coding in ALL {
            let encoded = compress(coding, &content).expect("there is memory").expect("it is smaller");
            let up_to = |bytes_max| decompress(coding, &encoded, bytes_max).expect("it is in this coding");
            assert!(up_to(100_000) == Some(content.clone()), "{coding:?}");
            assert_eq!(up_to(99_999), None, "{coding:?}");
            assert_eq!(up_to(0), None, "{coding:?}");
            for cut in [0, 1, 10, encoded.len() / 2, encoded.len() - 1] {
                let cut = decompress(coding, &encoded[..cut], 1 << 20);
                // Nothing at all is a content of no zstd frames.
                assert!(cut.is_err() || cut.is_ok_and(|decoded| decoded.is_some_and(|it| it.is_empty())), "{coding:?}");
            }
            assert!(decompress(coding, b"this is in no coding at all", 1 << 20).is_err(), "{coding:?}");
        }
    }

    #[test]
    fn all_members_of_a_gzip_file_are_decoded() {
        let member = |content: &[u8]| gzip(content).expect("there is memory");
        let encoded = [member(b"one, "), member(b""), member(b"two")].concat();
        assert_eq!(decoded(Coding::Gzip, &encoded), b"one, two");
    }

    #[test]
    fn what_grows_without_end_costs_no_more_than_allowed() {
        let bomb = gzip(&vec![0; 8 << 20]).expect("there is memory");
        assert_eq!(decompress(Coding::Gzip, &bomb, 1 << 20).expect("it is gzip"), None);
    }

    /// Text that compresses about as well as a page does.
    fn page(len: usize) -> Vec<u8> {
        let lines = (0u32..).map(|n| format!("<li><a href=\"/{}\">{n}</a>\n", n.wrapping_mul(0x9e37_79b1) % 977));
        lines.flat_map(String::into_bytes).take(len).collect()
    }

    #[test]
    fn what_was_compressed_is_decoded_and_smaller() {
        let content = page(300_000);
        for coding in ALL {
            let encoded = compress(coding, &content).expect("there is memory").expect("it is smaller");
            assert!(encoded.len() < content.len() / 3, "{coding:?}: {}", encoded.len());
            assert_eq!(encoded.len(), encoded.capacity());
            assert!(decoded(coding, &encoded) == content, "{coding:?}");
            assert!(compress(coding, &content).expect("there is memory") == Some(encoded), "{coding:?} differs");
        }
    }

    #[test]
    fn what_does_not_become_smaller_is_left_alone() {
        let mut state = 1u64;
        let noise = (0..10_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        let noise: Vec<u8> = noise.collect();
        assert_eq!(compress(Coding::Identity, &page(1000)).expect("there is memory"), None);
        for content in [&b""[..], b"a", b"short", &noise] {
            for coding in ALL {
                assert_eq!(compress(coding, content).expect("there is memory"), None, "{coding:?}");
            }
        }
    }

    /// The window of a zstd frame in bytes (RFC 8878 §3.1.1.1).
    fn zstd_window_bytes(frame: &[u8]) -> u64 {
        let [descriptor, window] = [frame[4], frame[5]];
        assert_eq!(descriptor & 0x20, 0, "a single segment, as large as its content");
        let base = 1u64 << (10 + (window >> 3));
        base + base / 8 * u64::from(window & 7)
    }

    #[test]
    fn no_decoder_is_asked_for_more_memory_than_browsers_give() {
        // RFC 9659 §3: a zstd window is at most 8 MiB.
        let content = vec![b'a'; 9 << 20];
        let encoded = compress(Coding::Zstd, &content).expect("there is memory").expect("it is smaller");
        assert!(zstd_window_bytes(&encoded) <= 8 << 20);
    }

    /// What `program` makes of `encoded`, or `None` if it is not installed.
    fn decoded_by(program: &str, encoded: &[u8]) -> Option<Vec<u8>> {
        let mut command = Command::new(program);
        command.arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            spawned => spawned.expect("the program can be started"),
        };
        let mut input = child.stdin.take().expect("it was asked for");
        let output = thread::scope(|scope| {
            scope.spawn(move || input.write_all(encoded).expect("the program reads its input"));
            child.wait_with_output().expect("the program's output can be read")
        });
        assert!(output.status.success(), "{program}: {}", output.status);
        Some(output.stdout)
    }

    #[test]
    fn other_decoders_understand_it() {
        let content = page(300_000);
        for (coding, program) in ALL.into_iter().zip(["gzip", "brotli", "zstd"]) {
            let encoded = compress(coding, &content).expect("there is memory").expect("it is smaller");
            match decoded_by(program, &encoded) {
                Some(found) => assert!(found == content, "{program} decoded something else"),
                None => eprintln!("skipped: `{program}` is not installed"),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_content_comes_back(pieces in prop::collection::vec(("[a-c ]{0,20}", 1..200usize), 0..10)) {
            let content: Vec<u8> = pieces.into_iter().flat_map(|(text, times)| text.repeat(times).into_bytes()).collect();
            for coding in ALL {
                if let Some(encoded) = compress(coding, &content).unwrap() {
                    prop_assert!(encoded.len() < content.len());
                    prop_assert!(decoded(coding, &encoded) == content);
                }
            }
        }
    }
}
