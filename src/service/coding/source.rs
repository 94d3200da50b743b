//! A source that codes what it pulls from another one.

use std::time::Duration;

use super::Coder;
use super::encoder::Encoder;
use super::rules::trailers_of_coded;
use crate::base::ring::{RingBuffer, Room};
use crate::http::body::{Failure, Pull, Wait};
use crate::http::exchange::{Cx, Source};
use crate::http::fields::FieldSet;
use crate::service::allowance::Allowance;

/// What is pulled at a time, in bytes.
pub(super) const INPUT_BYTES: usize = 8 * 1024;
/// What is coded at a time, in bytes.
const OUTPUT_BYTES: usize = 4 * 1024;
/// What all coded responses together may take as input in one turn of the loop, in bytes: about 4 ms with zstd and 9 ms
/// with gzip. When there are many of them, each gets at least one input.
const TURN_BYTES_MAX: usize = 1024 * 1024;
/// What one of them may take, in bytes: less than a millisecond.
pub(super) const STREAM_TURN_BYTES_MAX: usize = 64 * 1024;
/// When a response is looked at again that has had its share of a turn. Its wake comes earlier, with the next turn.
const NEXT_TURN_AT_THE_LATEST: Duration = Duration::from_secs(1);

/// Coded content. It is flushed whenever the inner source has nothing now: then the reader can decode all there was.
pub(super) struct CodedSource {
    coder: Coder,
    inner: Box<dyn Source>,
    /// Made with the first pull: what only has a head costs nothing.
    works: Option<Works>,
}

/// What it takes to code.
struct Works {
    encoder: Encoder,
    /// Pulled, but not coded.
    input: RingBuffer,
    /// Coded; the first `sent` bytes are out.
    output: Vec<u8>,
    sent: usize,
    phase: Phase,
    /// What was pulled in this turn.
    allowance: Allowance,
}

/// What comes next, when all input is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// More is pulled. `flushed`: the reader can decode all there was.
    Pulling { flushed: bool },
    /// The inner source waits; the reader gets what there was.
    Flushing,
    /// The inner source has ended.
    Finishing,
    /// The coded content has ended.
    Over,
}

impl CodedSource {
    pub(super) fn new(coder: Coder, inner: Box<dyn Source>) -> CodedSource {
        CodedSource { coder, inner, works: None }
    }
}

impl Works {
    fn new(coder: &Coder, cx: &Cx<'_>) -> Result<Works, Failure> {
        Ok(Works {
            encoder: Encoder::new(coder.coding).map_err(Failure::new)?,
            input: RingBuffer::new(INPUT_BYTES),
            output: Vec::with_capacity(OUTPUT_BYTES),
            sent: 0,
            phase: Phase::Pulling { flushed: true },
            allowance: Allowance::new(cx.now),
        })
    }

    /// Moves what is coded into `room`; says whether all of it went.
    fn flow(&mut self, room: &mut Room<'_>) -> bool {
        self.sent += room.put(&self.output[self.sent..]);
        let all = self.sent == self.output.len();
        if all {
            self.output.clear();
            self.sent = 0;
        }
        all
    }

    /// Codes what has been pulled, or does what comes after it. `output` is empty before.
    fn code(&mut self) -> std::io::Result<()> {
        let [input, _] = self.input.readable();
        if !input.is_empty() {
            let taken = self.encoder.encode(input, &mut self.output)?;
            self.input.consume(taken);
            return Ok(());
        }
        self.phase = match self.phase {
            Phase::Flushing if self.encoder.flush(&mut self.output)? => Phase::Pulling { flushed: true },
            Phase::Finishing if self.encoder.finish(&mut self.output)? => Phase::Over,
            phase => phase,
        };
        Ok(())
    }

    /// Pulls more from `inner`, if this turn allows it; `Some`: there is nothing to be done now.
    fn pull(
        &mut self,
        inner: &mut dyn Source,
        turn_bytes_max: usize,
        cx: &mut Cx<'_>,
    ) -> Result<Option<Wait>, Failure> {
        let left = self.allowance.left(turn_bytes_max, cx.now);
        if left == 0 {
            cx.local_waker().wake_in_next_turn();
            return Ok(Some(Wait::Until(cx.now + NEXT_TURN_AT_THE_LATEST)));
        }
        let mut room = self.input.room(0, left);
        let pulled = inner.pull(&mut room, cx)?;
        let (written, full) = (room.written(), room.is_full());
        self.input.seal(0, b"", written);
        self.allowance.spend(written);
        let flushed = self.phase == Phase::Pulling { flushed: true } && written == 0;
        match pulled {
            Pull::More if written == 0 && !full => {
                return Err(Failure::new("a source promised more content and gave none"));
            }
            Pull::More => self.phase = Phase::Pulling { flushed },
            Pull::Pending(wait) if flushed => return Ok(Some(wait)),
            Pull::Pending(_) => self.phase = Phase::Flushing,
            Pull::End => self.phase = Phase::Finishing,
        }
        Ok(None)
    }
}

impl Source for CodedSource {
    fn length(&self) -> Option<u64> {
        None
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        let works = match &mut self.works {
            Some(works) => works,
            none => none.insert(Works::new(&self.coder, cx)?),
        };
        loop {
            if !works.flow(room) {
                return Ok(Pull::More);
            }
            match works.phase {
                Phase::Over => return Ok(Pull::End),
                Phase::Pulling { .. } if works.input.is_empty() => {
                    let turn_bytes_max =
                        (TURN_BYTES_MAX / self.coder.shares.held().max(1)).clamp(INPUT_BYTES, STREAM_TURN_BYTES_MAX);
                    if let Some(wait) = works.pull(&mut *self.inner, turn_bytes_max, cx)? {
                        return Ok(Pull::Pending(wait));
                    }
                }
                _ => works.code().map_err(Failure::new)?,
            }
        }
    }

    fn ends_with_client(&self) -> bool {
        self.inner.ends_with_client()
    }

    fn trailers(&mut self) -> Option<FieldSet> {
        self.inner.trailers().map(|trailers| trailers_of_coded(&trailers))
    }
}
