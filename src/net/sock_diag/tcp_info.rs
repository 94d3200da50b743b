//! The layout of `struct tcp_info`, linux/tcp.h. It has only ever grown at its end, so that what an older kernel does
//! not know is missing there.

use super::TcpInfo;
use super::message::bytes_at;

/// Reads as much of the structure as the kernel sent.
pub(super) fn read(bytes: &[u8]) -> TcpInfo {
    let u8_at = |offset: usize| bytes.get(offset).copied().unwrap_or(0);
    let u32_at = |offset| bytes_at(bytes, offset).map(u32::from_ne_bytes);
    let u64_at = |offset| bytes_at(bytes, offset).map(u64::from_ne_bytes);
    TcpInfo {
        retransmits: u8_at(2),
        probes: u8_at(3),
        backoff: u8_at(4),
        snd_mss: u32_at(16).unwrap_or(0),
        unacked: u32_at(24).unwrap_or(0),
        lost: u32_at(32).unwrap_or(0),
        retrans: u32_at(36).unwrap_or(0),
        last_data_sent_ms: u32_at(44).unwrap_or(0),
        last_data_recv_ms: u32_at(52).unwrap_or(0),
        last_ack_recv_ms: u32_at(56).unwrap_or(0),
        rtt_us: u32_at(68).unwrap_or(0),
        rttvar_us: u32_at(72).unwrap_or(0),
        snd_cwnd: u32_at(80).unwrap_or(0),
        rcv_space: u32_at(96).unwrap_or(0),
        total_retrans: u32_at(100).unwrap_or(0),
        bytes_acked: u64_at(120).unwrap_or(0),
        bytes_received: u64_at(128).unwrap_or(0),
        notsent_bytes: u32_at(144).unwrap_or(0),
        // The largest number stands for "not measured yet" (tcp_init_sock of Linux), and no round trip takes 0 µs.
        min_rtt_us: u32_at(148).filter(|rtt| !matches!(*rtt, 0 | u32::MAX)),
        delivery_rate: u64_at(160).unwrap_or(0),
        busy_time_us: u64_at(168).unwrap_or(0),
        rwnd_limited_us: u64_at(176).unwrap_or(0),
        sndbuf_limited_us: u64_at(184).unwrap_or(0),
        snd_wnd: u32_at(228),
    }
}
