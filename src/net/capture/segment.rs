//! The headers of TCP segments, made up around bytes that were read or written.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Flags of a segment (RFC 9293 §3.1).
pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const PSH: u8 = 8;
pub(super) const ACK: u8 = 16;

/// The most bytes of a segment: an IPv4 packet has up to 65,535 with its headers (RFC 791 §3.1).
pub(super) const DATA_BYTES_MAX: usize = 65_535 - 20 - 20;

/// Maximum segment size, a filler, and a window scale of 14 (RFC 9293 §3.2, RFC 7323 §2.2). With that, readers believe that
/// the window is never full: what it really was is not known here.
pub(super) const SYN_OPTIONS: [u8; 8] = [2, 4, 0xFF, 0xD7, 1, 3, 3, 14];

/// What stands in front of the IP header (LINKTYPE_NULL): the number of the address family on macOS, which all readers know.
const LINK_BYTES: usize = 4;
const LINK_IPV4: u32 = 2;
const LINK_IPV6: u32 = 30;

const WINDOW: u16 = u16::MAX;
const TTL: u8 = 64;
const TCP: u8 = 6;
const DO_NOT_FRAGMENT: u8 = 0x40;
const IPV4_BYTES: usize = 20;
const TCP_BYTES: usize = 20;

/// A segment without its data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) sequence: u64,
    pub(super) acknowledged: u64,
    pub(super) flags: u8,
}

impl Segment {
    /// Its headers: those of the link, of IP and of TCP. It has `length` bytes of data (up to [`DATA_BYTES_MAX`]), of which `data` is known. The checksum
    /// is right if that is all of them.
    pub(super) fn headers(&self, data: &[u8], length: usize) -> Vec<u8> {
        let options: &[u8] = if self.flags & SYN == 0 { &[] } else { &SYN_OPTIONS };
        let tcp_bytes = TCP_BYTES + options.len();
        let mut out = self.link_and_ip_header(tcp_bytes + length);
        let at = out.len();
        out.extend(self.from.port().to_be_bytes());
        out.extend(self.to.port().to_be_bytes());
        // Sequence numbers begin again after 4 GiB (RFC 9293 §3.4).
        out.extend((self.sequence as u32).to_be_bytes());
        out.extend((self.acknowledged as u32).to_be_bytes());
        out.extend([((tcp_bytes / 4) << 4) as u8, self.flags]);
        out.extend(WINDOW.to_be_bytes());
        out.extend([0; 4]);
        out.extend_from_slice(options);
        let sum = self.pseudo_header_sum(tcp_bytes + length) + sum(&out[at..]) + sum(data);
        out[at + 16..at + 18].copy_from_slice(&checksum(sum));
        out
    }

    fn link_and_ip_header(&self, payload: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(80);
        match ips(self.from, self.to) {
            Ips::V4(from, to) => {
                out.extend(LINK_IPV4.to_le_bytes());
                out.extend([0x45, 0]);
                out.extend(((IPV4_BYTES + payload) as u16).to_be_bytes());
                out.extend([0, 0, DO_NOT_FRAGMENT, 0, TTL, TCP, 0, 0]);
                out.extend(from);
                out.extend(to);
                let sum = checksum(sum(&out[LINK_BYTES..]));
                out[LINK_BYTES + 10..LINK_BYTES + 12].copy_from_slice(&sum);
            }
            Ips::V6(from, to) => {
                out.extend(LINK_IPV6.to_le_bytes());
                out.extend([0x60, 0, 0, 0]);
                out.extend((payload as u16).to_be_bytes());
                out.extend([TCP, TTL]);
                out.extend(from);
                out.extend(to);
            }
        }
        out
    }

    /// What the checksum covers besides the segment (RFC 9293 §3.1, RFC 8200 §8.1).
    fn pseudo_header_sum(&self, tcp_length: usize) -> u64 {
        let addresses = match ips(self.from, self.to) {
            Ips::V4(from, to) => sum(&from) + sum(&to),
            Ips::V6(from, to) => sum(&from) + sum(&to),
        };
        addresses + u64::from(TCP) + tcp_length as u64
    }
}

/// The addresses of both ends.
enum Ips {
    V4([u8; 4], [u8; 4]),
    V6([u8; 16], [u8; 16]),
}

fn ips(from: SocketAddr, to: SocketAddr) -> Ips {
    let mapped = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Ips::V4(from.octets(), to.octets()),
        (from, to) => Ips::V6(Ipv6Addr::octets(&mapped(from)), Ipv6Addr::octets(&mapped(to))),
    }
}

/// The sum of 16-bit words, carries and all (RFC 1071).
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(2);
    let last = words.remainder().first().map_or(0, |byte| u64::from(*byte) << 8);
    words.map(|word| u64::from(u16::from_be_bytes([word[0], word[1]]))).sum::<u64>() + last
}

fn checksum(mut sum: u64) -> [u8; 2] {
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(from: &str, to: &str, flags: u8) -> Segment {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        Segment { from, to, sequence: 0x1_0000_0001, acknowledged: 2, flags }
    }

    /// The sum over a whole packet with its checksum is one that has all bits set (RFC 1071).
    fn is_right(segment: &Segment, headers: &[u8], ip_bytes: usize, data: &[u8]) -> bool {
        let tcp = &headers[LINK_BYTES + ip_bytes..];
        checksum(segment.pseudo_header_sum(tcp.len() + data.len()) + sum(tcp) + sum(data)) == [0, 0]
    }

    #[test]
    fn headers_over_ipv4_are_what_the_kernel_would_make() {
        let segment = segment("127.0.0.1:8080", "127.0.0.2:4660", PSH | ACK);
        let headers = segment.headers(b"abc", 3);
        #[rustfmt::skip]
        let expected = [
            2, 0, 0, 0,
            0x45, 0, 0, 43, 0, 0, 0x40, 0, 64, 6, 0x3C, 0xCA, 127, 0, 0, 1, 127, 0, 0, 2,
            0x1F, 0x90, 0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0xFF, 0xFF,
        ];
        assert_eq!(headers[..40], expected);
        assert_eq!(headers.len(), 44);
        assert!(checksum(sum(&headers[4..24])) == [0, 0], "{headers:x?}");
        for data in [&b"abc"[..], b"abcd", b"", &[0xFF; DATA_BYTES_MAX]] {
            let headers = segment.headers(data, data.len());
            assert!(is_right(&segment, &headers, 20, data), "{}", data.len());
            assert_eq!(4 + usize::from(u16::from_be_bytes([headers[6], headers[7]])), headers.len() + data.len());
        }
    }

    #[test]
    fn headers_over_ipv6_are_what_the_kernel_would_make() {
        let segment = segment("[::1]:8080", "[fe80::1]:4660", SYN);
        let headers = segment.headers(&[], 0);
        assert_eq!(headers[..12], [30, 0, 0, 0, 0x60, 0, 0, 0, 0, 28, 6, 64]);
        assert_eq!(headers.len(), 4 + 40 + 28);
        assert_eq!(headers[64..], SYN_OPTIONS);
        assert!(is_right(&segment, &headers, 40, &[]));
        let data = [1; DATA_BYTES_MAX];
        assert!(is_right(&segment, &segment.headers(&data, data.len()), 40, &data));
    }

    #[test]
    fn a_segment_whose_data_is_not_known_has_its_true_length() {
        let headers = segment("127.0.0.1:8080", "127.0.0.2:4660", ACK).headers(&[], 1000);
        assert_eq!(u16::from_be_bytes([headers[6], headers[7]]), 1040);
    }

    #[test]
    fn ends_of_two_families_are_shown_as_those_of_one() {
        let headers = segment("127.0.0.1:8080", "[::1]:4660", ACK).headers(&[], 0);
        let server = "::ffff:127.0.0.1".parse::<Ipv6Addr>().unwrap().octets();
        assert_eq!((headers[4], &headers[12..28]), (0x60, &server[..]));
    }
}
