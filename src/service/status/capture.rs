//! `/capture`: what one connection reads and writes from now on, as a file for Wireshark that grows.

use std::time::{Duration, Instant};

use super::fresh;
use super::inspection_queue::Question;
use crate::base::byte_pipe::PipeReader;
use crate::base::ring::Room;
use crate::http::body::{Body, Failure, Pull, Wait};
use crate::http::exchange::{Cx, Decision, Exchange, Source};
use crate::http::fields::FieldValue;
use crate::http::media_type::TEXT_UTF8;
use crate::http::status::Status;
use crate::http::target::Target;
use crate::observe::report::{CaptureOrder, CaptureRefusal, CaptureStream};

/// What is answered to a request that names no connection.
pub const EXPECTED: &str = "expected /capture?c=N, and perhaps &bytes=N (the size of the file at most)\n";

const PCAPNG: FieldValue = FieldValue::from_static("application/x-pcapng");
/// How long the file is, unless something else is asked for.
const BYTES_MAX: u64 = 64 << 20;
/// After so long without a packet there is a sign of life: writing it shows whether the asker is still there.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// When an unanswered question is looked at again; in practice the answer always comes earlier.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a request asks for; `None` if that cannot be told.
pub fn order(target: &Target<'_>) -> Option<CaptureOrder> {
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u64>().ok();
    let connection = number(target.query_parameter("c")?)?;
    let bytes_max = target.query_parameter("bytes").map_or(Some(BYTES_MAX), number)?;
    Some(CaptureOrder { connection, bytes_max })
}

/// A request that waits for its capture to begin.
pub struct Capture {
    order: CaptureOrder,
    question: Question<Result<CaptureStream, CaptureRefusal>>,
}

impl Capture {
    /// Waits for the answer to `question`, which has this `order`.
    pub fn new(order: CaptureOrder, question: Question<Result<CaptureStream, CaptureRefusal>>) -> Capture {
        Capture { order, question }
    }
}

impl Exchange for Capture {
    fn respond(self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        let connection = self.order.connection;
        let refused = |status, text| fresh(status, TEXT_UTF8, Body::from(text));
        Ok(match self.question.answer() {
            None => Decision::Pending(self, Wait::Until(cx.now + PATIENCE)),
            Some(Ok(stream)) => {
                let file = File { stream, signs_at: cx.now + SILENCE_MAX };
                Decision::Respond(fresh(Status::OK, PCAPNG, Body::Source(Box::new(file))))
            }
            Some(Err(CaptureRefusal::NotOpen)) => {
                let text = format!("c={connection} is not open: only what an open connection says can be captured\n");
                Decision::Respond(refused(Status::NOT_FOUND, text))
            }
            Some(Err(CaptureRefusal::TooMany(max))) => {
                let text = format!("{max} captures are under way, and there may be no more at a time\n");
                Decision::Respond(refused(Status::SERVICE_UNAVAILABLE, text))
            }
        })
    }
}

/// The file.
struct File {
    stream: CaptureStream,
    signs_at: Instant,
}

impl Source for File {
    fn length(&self) -> Option<u64> {
        None
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        let file: &PipeReader = &self.stream.file;
        if file.is_empty() && cx.now >= self.signs_at {
            file.put(&self.stream.sign_of_life);
        }
        if file.take(room) > 0 {
            self.signs_at = cx.now + SILENCE_MAX;
        }
        Ok(match (file.is_empty(), file.has_ended()) {
            (false, _) => Pull::More,
            (true, true) => Pull::End,
            (true, false) => {
                file.wakes(cx.local_waker());
                Pull::Pending(Wait::Until(self.signs_at))
            }
        })
    }
}
