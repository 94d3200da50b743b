//! What the kernel counts for all TCP listeners of this network namespace together, as `nstat` shows it.

use std::fs;
use std::io;

use crate::base::accept_queue::ListenCounters;

const PATH: &str = "/proc/net/netstat";

/// Reads the counters as they are now: since the namespace exists. This reads a file, so it is nothing for the event loop.
///
/// # Errors
/// Those of reading `/proc/net/netstat`, which only Linux has; [`io::ErrorKind::InvalidData`] if the counters are not in it.
pub fn read() -> io::Result<ListenCounters> {
    parse(&fs::read_to_string(PATH)?).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The file has two lines for each group of counters: names, and then numbers. Both begin with the group's name.
fn parse(text: &str) -> Option<ListenCounters> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, numbers) = (lines.next()?.split(' '), lines.next()?.split(' '));
    let pairs: Vec<(&str, &str)> = names.zip(numbers).collect();
    let value = |wanted: &str| pairs.iter().find(|(name, _)| *name == wanted)?.1.parse().ok();
    Some(ListenCounters { overflows: value("ListenOverflows")?, drops: value("ListenDrops")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_counters_are_found_by_their_names() {
        let text = "IpExt: ListenDrops\nIpExt: 7\nTcpExt: TW ListenOverflows DelayedACKs ListenDrops\nTcpExt: 5 18446744073709551615 6 12\n";
        assert_eq!(parse(text), Some(ListenCounters { overflows: u64::MAX, drops: 12 }));
    }

    #[test]
    fn what_is_cut_or_no_number_is_not_known() {
        for text in [
            "",
            "TcpExt: ListenOverflows ListenDrops",
            "TcpExt: ListenOverflows ListenDrops\nTcpExt: 1",
            "TcpExt: ListenOverflows ListenDrops\nTcpExt: 1 -2",
            "TcpExt: ListenOverflows\nTcpExt: 1",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_has_them() {
        let (before, after) = (read().unwrap(), read().unwrap());
        assert!(before.overflows <= after.overflows && before.drops <= after.drops);
    }
}
