//! Names of hosts, as they stand in messages (RFC 1035 §3.1).

use std::fmt;

use super::Malformed;

/// The most bytes of a name with the lengths of its labels and the root's (RFC 1035 §2.3.4).
pub const NAME_BYTES_MAX: usize = 255;
/// The most bytes of a label (RFC 1035 §2.3.4).
const LABEL_BYTES_MAX: usize = 63;
/// As many labels as a name can have, and so as many pointers as a sensible one.
const POINTERS_MAX: usize = NAME_BYTES_MAX / 2;

/// A name, in lower case, since names are compared without regard to case (RFC 4343).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Labels, each behind its length, and at last the root's length, which is 0.
    wire: Box<[u8]>,
}

/// Why a text is not the name of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// It is empty, or a label is.
    EmptyLabel,
    /// A label is longer than 63 bytes.
    LongLabel,
    /// The name is longer than 253 bytes.
    LongName,
    /// A byte is neither a letter nor a digit, `-` or `_`. Names in other scripts are asked for in their ASCII form
    /// (`xn--`, RFC 5890).
    Byte(u8),
}

impl Name {
    /// Reads a name such as `a.example`, with or without the final dot.
    ///
    /// # Errors
    /// It is none that a host can have (RFC 1123 §2.1). An underscore is accepted, because many have one.
    pub fn parse(text: &str) -> Result<Name, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in text.split('.') {
            match label.len() {
                0 => return Err(NameError::EmptyLabel),
                1..=LABEL_BYTES_MAX => wire.push(label.len() as u8),
                _ => return Err(NameError::LongLabel),
            }
            for byte in label.bytes() {
                if !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_') {
                    return Err(NameError::Byte(byte));
                }
                wire.push(byte.to_ascii_lowercase());
            }
        }
        wire.push(0);
        if wire.len() > NAME_BYTES_MAX {
            return Err(NameError::LongName);
        }
        Ok(Name { wire: wire.into() })
    }

    /// Reads a name out of a `message`, from `at` on. Says also where it ends there.
    ///
    /// # Errors
    /// It is cut off, too long, or a pointer in it does not point backwards (RFC 1035 §4.1.4: to a prior occurrence).
    pub(super) fn read(message: &[u8], mut at: usize) -> Result<(Name, usize), Malformed> {
        let mut wire = Vec::new();
        let mut end = None;
        // Where the labels begin that are being read: what is pointed to lies before that, so there is no loop.
        let mut start = at;
        let mut pointers = 0;
        loop {
            let length = *message.get(at).ok_or(Malformed::CUT)?;
            match length >> 6 {
                0b00 => {
                    let label = message.get(at + 1..at + 1 + usize::from(length)).ok_or(Malformed::CUT)?;
                    wire.push(length);
                    wire.extend(label.iter().map(u8::to_ascii_lowercase));
                    if wire.len() > NAME_BYTES_MAX {
                        return Err(Malformed("a name is too long"));
                    }
                    at += 1 + label.len();
                    if length == 0 {
                        return Ok((Name { wire: wire.into() }, end.unwrap_or(at)));
                    }
                }
                0b11 => {
                    let low = *message.get(at + 1).ok_or(Malformed::CUT)?;
                    end = end.or(Some(at + 2));
                    at = usize::from(length & 0x3F) << 8 | usize::from(low);
                    pointers += 1;
                    if at >= start || pointers > POINTERS_MAX {
                        return Err(Malformed("a pointer in a name does not point to a name before it"));
                    }
                    start = at;
                }
                // RFC 6891 §5: these kinds of labels were given up.
                _ => return Err(Malformed("a label is of an unknown kind")),
            }
        }
    }

    /// The name as it is sent.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }
}

/// As it is usually written, without the final dot. Bytes that no host's name has are escaped (RFC 1035 §5.1).
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = &self.wire[..];
        if rest == [0] {
            return f.write_str(".");
        }
        let mut dot = "";
        while let Some((&length, after)) = rest.split_first().filter(|(length, _)| **length > 0) {
            f.write_str(dot)?;
            dot = ".";
            let (label, after) = after.split_at(usize::from(length));
            for byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                    b'!'..=b'~' => write!(f, "{}", char::from(*byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            rest = after;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::EmptyLabel => f.write_str("a label of the name is empty"),
            NameError::LongLabel => f.write_str("a label of the name is longer than 63 bytes"),
            NameError::LongName => f.write_str("the name is longer than 253 bytes"),
            NameError::Byte(byte) if byte.is_ascii() => {
                write!(f, "the name of a host has no {:?}", char::from(*byte))
            }
            NameError::Byte(_) => f.write_str("the name of a host is ASCII: other scripts are written as xn--..."),
        }
    }
}

impl std::error::Error for NameError {}
