//! The header of the PROXY protocol, version 2 (<https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt>, §2.2): at the
//! beginning of a connection it says whose connection it stands for.

use std::net::{IpAddr, SocketAddr};

/// The longest header that is made, in bytes.
pub const BYTES_MAX: usize = 16 + 36;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and whether it stands for another connection.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// TCP over IPv4, and over IPv6.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The header for a connection between a client and us. Without addresses, as for Unix sockets, it says that the connection
/// stands for itself.
pub fn header(client: Option<SocketAddr>, local: Option<SocketAddr>) -> Vec<u8> {
    let mut header = Vec::with_capacity(BYTES_MAX);
    header.extend_from_slice(&SIGNATURE);
    let (Some(client), Some(local)) = (client, local) else {
        header.extend_from_slice(&[LOCAL, 0, 0, 0]);
        return header;
    };
    match (client.ip().to_canonical(), local.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend_from_slice(&[PROXY, TCP4, 0, 12]);
            header.extend_from_slice(&from.octets());
            header.extend_from_slice(&to.octets());
        }
        (from, to) => {
            // One of each does not occur on one connection, but both can be said in IPv6.
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            header.extend_from_slice(&[PROXY, TCP6, 0, 36]);
            header.extend_from_slice(&octets(from));
            header.extend_from_slice(&octets(to));
        }
    }
    header.extend_from_slice(&client.port().to_be_bytes());
    header.extend_from_slice(&local.port().to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn it_has_both_addresses_in_the_order_of_the_network() {
        let header = super::header(address("192.0.2.1:258"), address("[::ffff:192.0.2.2]:443"));
        let expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x01\x02\x01\xbb";
        assert_eq!(header, expected);
        let header = super::header(address("[2001:db8::1]:1"), address("[2001:db8::2]:2"));
        assert_eq!((header.len(), &header[12..16], header[31], header[47]), (BYTES_MAX, &b"\x21\x21\0\x24"[..], 1, 2));
        assert_eq!(header[48..], [0, 1, 0, 2]);
    }

    #[test]
    fn without_addresses_it_stands_for_itself() {
        assert_eq!(header(None, address("192.0.2.2:443")), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    }
}
