//! The encoders, and what they cost.
//!
//! Levels and windows were chosen by the table in docs/compression.md: zstd level 3 with small tables takes 305 KiB for a
//! stream and codes 250 MB/s, gzip level 2 takes 275 KiB and codes 116 MB/s. Brotli takes 566 KiB and more, and four times
//! as long as zstd for the same result, so that no stream is coded in it. Most of gzip's memory is tables of a fixed size,
//! so that a window smaller than 8 KiB saves nothing.

use std::io;

use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::stream::raw::{CParameter, Encoder as ZstdEncoder, InBuffer, Operation, OutBuffer};

use crate::http::negotiate::Coding;

const GZIP_LEVEL: u32 = 2;
const GZIP_WINDOW_LOG: u8 = 13;
const ZSTD_LEVEL: i32 = 3;
const ZSTD_WINDOW_LOG: u32 = 15;
const ZSTD_TABLE_LOG: u32 = 13;

/// Codes content piece by piece. Every call writes behind what stands in `out`, and never beyond its capacity.
pub(super) enum Encoder {
    Gzip(Box<Compress>),
    Zstd(Box<ZstdEncoder<'static>>),
}

impl Encoder {
    /// An encoder for this coding, which is one of [`CODINGS`](super::CODINGS) and not identity.
    pub(super) fn new(coding: Coding) -> io::Result<Encoder> {
        match coding {
            Coding::Zstd => {
                let mut encoder = ZstdEncoder::new(ZSTD_LEVEL)?;
                encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW_LOG))?;
                encoder.set_parameter(CParameter::HashLog(ZSTD_TABLE_LOG))?;
                encoder.set_parameter(CParameter::ChainLog(ZSTD_TABLE_LOG))?;
                Ok(Encoder::Zstd(Box::new(encoder)))
            }
            Coding::Gzip => {
                Ok(Encoder::Gzip(Box::new(Compress::new_gzip(Compression::new(GZIP_LEVEL), GZIP_WINDOW_LOG))))
            }
            Coding::Identity | Coding::Brotli => {
                Err(io::Error::other(format!("no stream is coded in {}", coding.name())))
            }
        }
    }

    /// Takes from the front of `input`, and says how much it took: all of it, unless `out` is full.
    pub(super) fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Encoder::Gzip(stream) => {
                let before = stream.total_in();
                stream.compress_vec(input, out, FlushCompress::None)?;
                Ok((stream.total_in() - before) as usize)
            }
            Encoder::Zstd(stream) => {
                let mut input = InBuffer::around(input);
                stream.run(&mut input, &mut behind(out))?;
                Ok(input.pos())
            }
        }
    }

    /// Gives out everything that was taken, so that the reader can decode it. False: `out` is full, and this must be
    /// called again before anything else.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        match self {
            Encoder::Gzip(stream) => {
                stream.compress_vec(&[], out, FlushCompress::Sync)?;
                Ok(out.len() < out.capacity())
            }
            Encoder::Zstd(stream) => Ok(stream.flush(&mut behind(out))? == 0),
        }
    }

    /// Gives out everything, and the end of the coded content. False: as for [`flush`](Encoder::flush).
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        match self {
            Encoder::Gzip(stream) => Ok(stream.compress_vec(&[], out, FlushCompress::Finish)? == Status::StreamEnd),
            Encoder::Zstd(stream) => Ok(stream.finish(&mut behind(out), true)? == 0),
        }
    }
}

fn behind(out: &mut Vec<u8>) -> OutBuffer<'_, Vec<u8>> {
    let position = out.len();
    OutBuffer::around_pos(out, position)
}
