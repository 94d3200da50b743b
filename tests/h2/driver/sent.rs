//! Reads the frames of the server, as a client would.

use tidemill::protocol::h2::error::ErrorCode;
use tidemill::protocol::h2::fields::{FieldList, ListLimits};
use tidemill::protocol::h2::frame::{ACK, END_HEADERS, END_STREAM, FRAME_HEAD_BYTES, FrameHead, Kind};
use tidemill::protocol::h2::hpack::decoder::Decoder;

use super::corpus_text::escaped;

/// Knows the server's table of fields, and the frame that has not arrived as a whole.
#[derive(Default)]
pub struct Client {
    bytes: Vec<u8>,
    block: Vec<u8>,
    decoder: Decoder,
    list: FieldList,
}

impl Client {
    /// The frames that are complete with these bytes, in words.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<String> {
        self.bytes.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(head) = self.bytes.first_chunk::<FRAME_HEAD_BYTES>().copied().map(FrameHead::from_bytes) {
            let end = FRAME_HEAD_BYTES + head.length as usize;
            if self.bytes.len() < end {
                break;
            }
            let payload = self.bytes[FRAME_HEAD_BYTES..end].to_vec();
            self.bytes.drain(..end);
            frames.push(self.frame(head, &payload));
        }
        frames
    }

    fn frame(&mut self, head: FrameHead, payload: &[u8]) -> String {
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("4 bytes"));
        let stream = head.stream;
        let end = if head.has(END_STREAM) { " end" } else { "" };
        match head.kind {
            Kind::Data => format!("DATA {stream}{end} \"{}\"", escaped(payload)),
            Kind::Headers | Kind::Continuation => {
                self.block.extend_from_slice(payload);
                let fields = if head.has(END_HEADERS) { self.fields() } else { "...".to_string() };
                let name = if head.kind == Kind::Headers { "HEADERS" } else { "CONTINUATION" };
                format!("{name} {stream}{end} {fields}")
            }
            Kind::RstStream => format!("RST_STREAM {stream} {}", ErrorCode(number(0))),
            Kind::Settings if head.has(ACK) => "SETTINGS ack".to_string(),
            Kind::Settings => {
                let parameter = |bytes: &[u8]| {
                    let value = u32::from_be_bytes(bytes[2..6].try_into().expect("4 bytes"));
                    format!(" {}={value}", u16::from_be_bytes([bytes[0], bytes[1]]))
                };
                format!("SETTINGS{}", payload.chunks(6).map(parameter).collect::<String>())
            }
            Kind::Ping => format!("PING{} \"{}\"", if head.has(ACK) { " ack" } else { "" }, escaped(payload)),
            Kind::GoAway => format!("GOAWAY {} {} \"{}\"", number(0), ErrorCode(number(4)), escaped(&payload[8..])),
            Kind::WindowUpdate => format!("WINDOW_UPDATE {stream} {}", number(0)),
            kind => format!("{kind:?}"),
        }
    }

    /// All fields but those that every response has.
    fn fields(&mut self) -> String {
        let limits = ListLimits { bytes_max: 64 * 1024, fields_max: 200 };
        let decoded = self.decoder.decode(&std::mem::take(&mut self.block), limits, &mut self.list);
        assert!(decoded.is_ok(), "{decoded:?}");
        let fields = self.list.fields(0).iter().filter(|(name, _)| *name != b"server" && *name != b"date");
        fields.map(|(name, value)| format!("{}: {}", escaped(name), escaped(value))).collect::<Vec<_>>().join(" | ")
    }
}
