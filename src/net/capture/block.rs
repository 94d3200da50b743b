//! The blocks of a pcapng file (draft-ietf-opsawg-pcapng), least significant byte first.

/// Types of blocks (§11.1).
const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 10;

/// Tells the order of the bytes in a section (§4.1).
const BYTE_ORDER_MAGIC: u32 = 0x1A2B_3C4D;
/// The length of a section that ends with the file (§4.1).
const LENGTH_NOT_TOLD: u64 = u64::MAX;
/// In front of each IP packet there are four bytes that say which version it is (LINKTYPE_NULL). The type without them
/// (LINKTYPE_RAW) would do for Wireshark, but tcpdump does not open a file that has two interfaces of it.
const LINK_TYPE_NULL: u16 = 0;
/// Keys in the format of NSS, which is that of `SSLKEYLOGFILE` (§4.7).
const TLS_KEY_LOG: u32 = 0x544C_534B;

/// Options of every block (§3.5).
const END_OF_OPTIONS: u16 = 0;
const COMMENT: u16 = 1;
/// Options of a section header.
const OPERATING_SYSTEM: u16 = 3;
const PROGRAM: u16 = 4;
/// Options of an interface description.
const INTERFACE_NAME: u16 = 2;
const INTERFACE_DESCRIBED: u16 = 3;
const TIME_RESOLUTION: u16 = 9;
/// Options of a packet.
const PACKET_FLAGS: u16 = 2;
/// Options of interface statistics.
const PACKETS_SEEN: u16 = 4;
const PACKETS_DROPPED: u16 = 5;

/// Times count in units of 10^-9 seconds.
const NANOSECONDS: u8 = 9;
/// The longest value of an option, in bytes.
const OPTION_BYTES_MAX: usize = u16::MAX as usize;

/// A packet as a block has it.
pub(super) struct Packet<'a> {
    pub(super) interface: u32,
    /// Nanoseconds since 1970.
    pub(super) at: u64,
    /// Whether it was received, and not sent.
    pub(super) is_inbound: bool,
    pub(super) headers: &'a [u8],
    /// What is known of what follows the headers.
    pub(super) data: &'a [u8],
    /// How long it was with its headers, in bytes: at least as long as they and the data.
    pub(super) length: usize,
    pub(super) comments: &'a [Box<str>],
}

/// The first block of a file.
pub(super) fn section_header(out: &mut Vec<u8>, program: &str, comment: &str) {
    block(out, SECTION_HEADER, |out| {
        out.extend(BYTE_ORDER_MAGIC.to_le_bytes());
        out.extend([1, 0, 0, 0]);
        out.extend(LENGTH_NOT_TOLD.to_le_bytes());
        option(out, OPERATING_SYSTEM, std::env::consts::OS.as_bytes());
        option(out, PROGRAM, program.as_bytes());
        option(out, COMMENT, comment.as_bytes());
        option(out, END_OF_OPTIONS, &[]);
    });
}

/// Describes an interface: the first one is number 0.
pub(super) fn interface(out: &mut Vec<u8>, name: &str, description: &str) {
    block(out, INTERFACE_DESCRIPTION, |out| {
        out.extend(LINK_TYPE_NULL.to_le_bytes());
        out.extend([0; 2]);
        // Packets are as long as they were, unless their bytes are not known.
        out.extend(0_u32.to_le_bytes());
        option(out, INTERFACE_NAME, name.as_bytes());
        option(out, INTERFACE_DESCRIBED, description.as_bytes());
        option(out, TIME_RESOLUTION, &[NANOSECONDS]);
        option(out, END_OF_OPTIONS, &[]);
    });
}

/// A packet, with its comments.
pub(super) fn packet(out: &mut Vec<u8>, packet: &Packet<'_>) {
    let Packet { interface, at, is_inbound, headers, data, length, comments } = packet;
    block(out, ENHANCED_PACKET, |out| {
        out.extend(interface.to_le_bytes());
        time(out, *at);
        out.extend(((headers.len() + data.len()) as u32).to_le_bytes());
        out.extend((*length as u32).to_le_bytes());
        out.extend_from_slice(headers);
        out.extend_from_slice(data);
        pad(out, headers.len() + data.len());
        option(out, PACKET_FLAGS, &if *is_inbound { 1_u32 } else { 2 }.to_le_bytes());
        comments.iter().for_each(|comment| option(out, COMMENT, comment.as_bytes()));
        option(out, END_OF_OPTIONS, &[]);
    });
}

/// The keys of TLS sessions whose packets follow, in the format of NSS.
pub(super) fn secrets(out: &mut Vec<u8>, lines: &str) {
    block(out, DECRYPTION_SECRETS, |out| {
        out.extend(TLS_KEY_LOG.to_le_bytes());
        out.extend((lines.len() as u32).to_le_bytes());
        out.extend_from_slice(lines.as_bytes());
        pad(out, lines.len());
    });
}

/// How many packets were seen on an interface until `at`, and how many of them are not in the file, if that is told.
pub(super) fn statistics(
    out: &mut Vec<u8>,
    interface: u32,
    at: u64,
    packets: Option<(u64, u64)>,
    comments: &[Box<str>],
) {
    block(out, INTERFACE_STATISTICS, |out| {
        out.extend(interface.to_le_bytes());
        time(out, at);
        if let Some((seen, dropped)) = packets {
            option(out, PACKETS_SEEN, &seen.to_le_bytes());
            option(out, PACKETS_DROPPED, &dropped.to_le_bytes());
        }
        comments.iter().for_each(|comment| option(out, COMMENT, comment.as_bytes()));
        option(out, END_OF_OPTIONS, &[]);
    });
}

/// The length of a block stands at both ends, so that a reader can go backwards. What is in between is padded to four bytes.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let length = ((out.len() - start + 4) as u32).to_le_bytes();
    out.extend(length);
    out[start + 4..start + 8].copy_from_slice(&length);
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(OPTION_BYTES_MAX)];
    out.extend(code.to_le_bytes());
    out.extend((value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
    pad(out, value.len());
}

/// Fills up what has `length` bytes.
fn pad(out: &mut Vec<u8>, length: usize) {
    out.resize(out.len() + length.next_multiple_of(4) - length, 0);
}

/// The more significant half comes first.
fn time(out: &mut Vec<u8>, at: u64) {
    out.extend(((at >> 32) as u32).to_le_bytes());
    out.extend((at as u32).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(make: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        make(&mut out);
        out
    }

    #[test]
    fn a_packet_is_padded_and_has_its_options() {
        let comments = ["c=1".into(), "".into()];
        let (headers, data) = (&[0x45][..], &[7; 4][..]);
        let at = 0x0102_0304_0506_0708;
        let block = made(|out| {
            packet(out, &Packet { interface: 3, at, is_inbound: false, headers, data, length: 9, comments: &comments });
        });
        #[rustfmt::skip]
        let expected = [
            6, 0, 0, 0, 64, 0, 0, 0, 3, 0, 0, 0,
            4, 3, 2, 1, 8, 7, 6, 5, 5, 0, 0, 0, 9, 0, 0, 0,
            0x45, 7, 7, 7, 7, 0, 0, 0,
            2, 0, 4, 0, 2, 0, 0, 0,
            1, 0, 3, 0, b'c', b'=', b'1', 0,
            1, 0, 0, 0,
            0, 0, 0, 0,
            64, 0, 0, 0,
        ];
        assert_eq!(block, expected);
    }

    #[test]
    fn a_section_begins_with_its_header_and_its_interfaces() {
        let header = made(|out| section_header(out, "mill", "x"));
        let system = std::env::consts::OS.as_bytes();
        assert_eq!(header[..8], [0x0A, 0x0D, 0x0D, 0x0A, header.len() as u8, 0, 0, 0]);
        assert_eq!(header[8..24], [0x4D, 0x3C, 0x2B, 0x1A, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(header[24..28], [3, 0, system.len() as u8, 0]);
        let rest =
            [4, 0, 4, 0, b'm', b'i', b'l', b'l', 1, 0, 1, 0, b'x', 0, 0, 0, 0, 0, 0, 0, header.len() as u8, 0, 0, 0];
        assert_eq!(header[header.len() - rest.len()..], rest);
        #[rustfmt::skip]
        let expected = [
            1, 0, 0, 0, 48, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            2, 0, 4, 0, b'n', b'a', b'm', b'e', 3, 0, 1, 0, b'd', 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0,
            48, 0, 0, 0,
        ];
        assert_eq!(made(|out| interface(out, "name", "d")), expected);
    }

    #[test]
    fn keys_and_statistics_have_blocks_of_their_own() {
        #[rustfmt::skip]
        let expected = [10, 0, 0, 0, 28, 0, 0, 0, 0x4B, 0x53, 0x4C, 0x54, 5, 0, 0, 0, b'L', b' ', b'1', b'2', b'\n', 0, 0, 0, 28, 0, 0, 0];
        assert_eq!(made(|out| secrets(out, "L 12\n")), expected);
        #[rustfmt::skip]
        let expected = [
            5, 0, 0, 0, 52, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0,
            4, 0, 8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 5, 0, 8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            52, 0, 0, 0,
        ];
        assert_eq!(made(|out| statistics(out, 1, 9, Some((7, 2)), &[])), expected);
    }

    #[test]
    fn a_comment_is_cut_where_its_length_has_no_room() {
        let comments = ["x".repeat(70_000).into_boxed_str()];
        let block = made(|out| {
            let data = &[][..];
            packet(
                out,
                &Packet { interface: 0, at: 0, is_inbound: true, headers: data, data, length: 0, comments: &comments },
            );
        });
        assert_eq!(block.len(), 28 + 8 + (4 + 65_536) + 4 + 4);
        assert_eq!(block[4..8], (block.len() as u32).to_le_bytes());
    }
}
