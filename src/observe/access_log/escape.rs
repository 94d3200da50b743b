//! What clients sent, made harmless.

/// Appends `text` for a line that people and old tools read: printable ASCII as it is, every other byte, `"` and `\` as
/// `\xHH`.
pub(super) fn plain(text: &[u8], lines: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text {
        match byte {
            b'"' | b'\\' | 0..=0x1F | 0x7F.. => {
                lines.extend_from_slice(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => lines.push(*byte),
        }
    }
}

/// The same for a field that ends with a space: a space is `\x20`.
pub(super) fn word(text: &[u8], lines: &mut Vec<u8>) {
    for (place, part) in text.split(|byte| *byte == b' ').enumerate() {
        if place > 0 {
            lines.extend_from_slice(b"\\x20");
        }
        plain(part, lines);
    }
}

/// The length of what `plain` appends, in bytes.
pub(super) fn plain_len(text: &[u8]) -> usize {
    text.iter().map(|byte| if matches!(byte, b'"' | b'\\' | 0..=0x1F | 0x7F..) { 4 } else { 1 }).sum()
}
