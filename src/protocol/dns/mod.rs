//! Messages of DNS (RFC 1035) about the addresses of hosts, with EDNS (RFC 6891), as values.
//!
//! A [`Query`] encodes itself, and [`Query::read`] finds in a message what it says about that query. Nobody can be sure who
//! has sent a message, so it is refused unless everything in it is as it should be.

mod name;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use name::{NAME_BYTES_MAX, Name, NameError};

/// The longest message that we take over UDP, in bytes: the smallest packet that IPv6 guarantees (1280 bytes, RFC 8200 §5)
/// less 48 of headers. So it is not fragmented, and no fragment of it can get lost or be forged.
pub const UDP_BYTES_MAX: usize = 1232;
/// More addresses than this are not kept.
pub const ADDRESSES_MAX: usize = 256;
/// More aliases in a row than this are not followed.
const ALIASES_MAX: usize = 16;

const HEADER_BYTES: usize = 12;
/// In the third and fourth byte of the header (RFC 1035 §4.1.1).
const IS_RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const IS_TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RCODE: u16 = 0x000F;

const CLASS_INTERNET: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_OPT: u16 = 41;

/// Which addresses are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressType {
    /// IPv4 (RFC 1035 §3.4.1).
    A,
    /// IPv6 (RFC 3596 §2.1).
    Aaaa,
}

impl AddressType {
    fn code(self) -> u16 {
        match self {
            AddressType::A => 1,
            AddressType::Aaaa => 28,
        }
    }
}

impl fmt::Display for AddressType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressType::A => "A",
            AddressType::Aaaa => "AAAA",
        })
    }
}

/// A question to a name server that looks for the answer itself (it recurses).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The number that its response has, too. It must not be guessed (RFC 5452 §9.2).
    pub id: u16,
    /// Whose addresses are asked for.
    pub name: Name,
    /// Which of them.
    pub address_type: AddressType,
    /// Whether longer messages than 512 bytes are asked for, with EDNS. Old servers do not know it.
    pub has_edns: bool,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The name has these addresses, each once and at least one. They may be kept for so many seconds, 0 included.
    Addresses(Vec<IpAddr>, u32),
    /// The name exists, without addresses of this type.
    NoAddresses,
    /// There is no such name (NXDOMAIN): this one, which the name is an alias of, or the name itself.
    NoSuchName(Name),
    /// The answer is longer than a message over UDP may be. It has to be asked for over TCP (RFC 7766 §5).
    Truncated,
    /// The server does not know EDNS (RFC 6891 §7): it has to be asked without it.
    NoEdns,
    /// The server cannot or will not answer.
    Refused(ResponseCode),
}

/// Why a server does not answer, by its number (RFC 1035 §4.1.1, RFC 6891 §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseCode(pub u16);

impl ResponseCode {
    const NO_ERROR: ResponseCode = ResponseCode(0);
    /// The server could not read the query.
    pub const FORMAT_ERROR: ResponseCode = ResponseCode(1);
    const NAME_ERROR: ResponseCode = ResponseCode(3);
    const NOT_IMPLEMENTED: ResponseCode = ResponseCode(4);
    const BAD_VERSION: ResponseCode = ResponseCode(16);
    /// The server has failed, or a server that it has asked (RFC 1035 §4.1.1).
    pub const SERVER_FAILURE: ResponseCode = ResponseCode(2);
}

impl fmt::Display for ResponseCode {
    /// As `dig` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("NOERROR"),
            1 => f.write_str("FORMERR"),
            2 => f.write_str("SERVFAIL"),
            3 => f.write_str("NXDOMAIN"),
            4 => f.write_str("NOTIMP"),
            5 => f.write_str("REFUSED"),
            16 => f.write_str("BADVERS"),
            code => write!(f, "RCODE{code}"),
        }
    }
}

/// Why a message is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is no response to the query: somebody else was asked, or it is forged. The response may still come.
    OfAnother,
    /// It is the response to the query, and malformed.
    Malformed(Malformed),
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl Malformed {
    const CUT: Malformed = Malformed("it ends too early");
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl From<Malformed> for Unfit {
    fn from(malformed: Malformed) -> Unfit {
        Unfit::Malformed(malformed)
    }
}

impl Query {
    /// The message that asks.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.name.wire().len() + 4 + 11);
        let counts = [1, 0, 0, u16::from(self.has_edns)];
        for number in [self.id, RECURSION_DESIRED].into_iter().chain(counts) {
            out.extend(number.to_be_bytes());
        }
        out.extend(self.name.wire());
        out.extend(self.address_type.code().to_be_bytes());
        out.extend(CLASS_INTERNET.to_be_bytes());
        if self.has_edns {
            // RFC 6891 §6.1.2: the root's name, what we take in place of a class, version 0 without flags, and no options.
            out.push(0);
            out.extend(TYPE_OPT.to_be_bytes());
            out.extend((UDP_BYTES_MAX as u16).to_be_bytes());
            out.extend([0; 6]);
        }
        out
    }

    /// What a received `message` says about this query.
    ///
    /// # Errors
    /// It is not the response to it, or malformed.
    pub fn read(&self, message: &[u8]) -> Result<Answer, Unfit> {
        let mut reader = Reader { message, at: 0 };
        let Ok(Header { id, flags, counts }) = reader.header() else { return Err(Unfit::OfAnother) };
        if id != self.id || flags & IS_RESPONSE == 0 || flags & OPCODE != 0 {
            return Err(Unfit::OfAnother);
        }
        let code = ResponseCode(flags & RCODE);
        let is_without_edns = matches!(code, ResponseCode::FORMAT_ERROR | ResponseCode::NOT_IMPLEMENTED);
        let [questions, answers, authorities, additionals] = counts;
        // Servers that do not understand a query may leave it out. All others repeat it, and whoever forges a response has
        // to know it (RFC 5452 §9.1).
        match questions {
            1 if reader.question() == Ok((self.name.clone(), self.address_type.code(), CLASS_INTERNET)) => {}
            0 if is_without_edns => {}
            _ => return Err(Unfit::OfAnother),
        }
        if self.has_edns && is_without_edns {
            return Ok(Answer::NoEdns);
        }
        // RFC 2181 §9: what a truncated message says is not used. It may even end within a record.
        if flags & IS_TRUNCATED != 0 {
            return Ok(Answer::Truncated);
        }
        let mut records = Records::default();
        for _ in 0..answers {
            records.note(reader.record()?, self.address_type)?;
        }
        let mut extended = None;
        for number in 0..u32::from(authorities) + u32::from(additionals) {
            let record = reader.record()?;
            if record.kind == TYPE_OPT {
                // RFC 6891 §6.1.1: there is at most one, among the additional records, of the root.
                if extended.is_some() || number < u32::from(authorities) || record.owner.wire() != [0] {
                    return Err(Malformed("its OPT record is out of place").into());
                }
                extended = Some((record.ttl >> 24) as u16);
            }
        }
        if reader.at != message.len() {
            return Err(Malformed("there is something behind its last record").into());
        }
        let code = ResponseCode(extended.unwrap_or(0) << 4 | code.0);
        match code {
            ResponseCode::NO_ERROR | ResponseCode::NAME_ERROR => {}
            ResponseCode::BAD_VERSION if self.has_edns => return Ok(Answer::NoEdns),
            code => return Ok(Answer::Refused(code)),
        }
        records.answer(&self.name, code)
    }
}

struct Header {
    id: u16,
    flags: u16,
    /// Questions, answers, authority records, additional records.
    counts: [u16; 4],
}

/// A record as far as it is of interest.
struct Record<'a> {
    owner: Name,
    kind: u16,
    class: u16,
    ttl: u32,
    data: &'a [u8],
    /// What stands in the data, if the record is an alias.
    alias_of: Option<Name>,
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let bytes = self.message.get(self.at..self.at + n).ok_or(Malformed::CUT)?;
        self.at += n;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u16, Malformed> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn name(&mut self) -> Result<Name, Malformed> {
        let (name, end) = Name::read(self.message, self.at)?;
        self.at = end;
        Ok(name)
    }

    fn header(&mut self) -> Result<Header, Malformed> {
        let (id, flags) = (self.number()?, self.number()?);
        let counts = [self.number()?, self.number()?, self.number()?, self.number()?];
        Ok(Header { id, flags, counts })
    }

    fn question(&mut self) -> Result<(Name, u16, u16), Malformed> {
        Ok((self.name()?, self.number()?, self.number()?))
    }

    fn record(&mut self) -> Result<Record<'a>, Malformed> {
        let owner = self.name()?;
        let (kind, class) = (self.number()?, self.number()?);
        let ttl = u32::from(self.number()?) << 16 | u32::from(self.number()?);
        let length = usize::from(self.number()?);
        let start = self.at;
        let data = self.take(length)?;
        let alias_of = match (kind, class) {
            (TYPE_CNAME, CLASS_INTERNET) => {
                let (name, end) = Name::read(self.message, start)?;
                if end != self.at {
                    return Err(Malformed("the data of a CNAME record is not one name"));
                }
                Some(name)
            }
            _ => None,
        };
        // RFC 2181 §8: a time whose first bit is set is 0. The record of EDNS keeps something else there.
        let ttl = if kind != TYPE_OPT && ttl > i32::MAX as u32 { 0 } else { ttl };
        Ok(Record { owner, kind, class, ttl, data, alias_of })
    }
}

/// What the answers of a message say, in whatever order they come.
#[derive(Default)]
struct Records {
    aliases: HashMap<Name, (Name, u32)>,
    addresses: Vec<(Name, IpAddr, u32)>,
}

impl Records {
    fn note(&mut self, record: Record<'_>, address_type: AddressType) -> Result<(), Malformed> {
        let Record { owner, kind, class, ttl, data, alias_of } = record;
        if let Some(target) = alias_of {
            // RFC 1034 §3.6.2: a name is an alias of one other.
            if self.aliases.get(&owner).is_some_and(|(other, _)| *other != target) {
                return Err(Malformed("a name is an alias of two others"));
            }
            self.aliases.insert(owner, (target, ttl));
        } else if class == CLASS_INTERNET && kind == address_type.code() {
            let address = match address_type {
                AddressType::A => <[u8; 4]>::try_from(data).ok().map(|octets| Ipv4Addr::from(octets).into()),
                AddressType::Aaaa => <[u8; 16]>::try_from(data).ok().map(|octets| Ipv6Addr::from(octets).into()),
            };
            self.addresses.push((owner, address.ok_or(Malformed("an address has the wrong length"))?, ttl));
        }
        Ok(())
    }

    /// Follows the aliases from `name` on, as far as the message has them (RFC 1034 §5.2.2).
    fn answer(&self, name: &Name, code: ResponseCode) -> Result<Answer, Unfit> {
        let (mut name, mut ttl, mut aliases) = (name, u32::MAX, 0);
        while let Some((target, alias_ttl)) = self.aliases.get(name) {
            (name, ttl, aliases) = (target, ttl.min(*alias_ttl), aliases + 1);
            if aliases > ALIASES_MAX {
                return Err(Malformed("too many aliases in a row, or a loop of them").into());
            }
        }
        if code == ResponseCode::NAME_ERROR {
            // RFC 6604 §3: it is the last name that does not exist.
            return Ok(Answer::NoSuchName(name.clone()));
        }
        let mut addresses = Vec::new();
        for (owner, address, address_ttl) in &self.addresses {
            if owner == name && addresses.len() < ADDRESSES_MAX {
                ttl = ttl.min(*address_ttl);
                addresses.push(*address);
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        Ok(if addresses.is_empty() { Answer::NoAddresses } else { Answer::Addresses(addresses, ttl) })
    }
}

#[cfg(test)]
mod tests;
