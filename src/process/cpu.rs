//! The processor time that this process has used, as the kernel tells it in proc(5).

use std::time::Duration;

/// The kernel tells times in hundredths of a second (`USER_HZ`, time(7)).
const TICK: Duration = Duration::from_millis(10);

/// Processor time, in steps of 10 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cpu {
    /// In our own code, on all threads.
    pub(super) user: Duration,
    /// In the kernel's, on all threads.
    pub(super) system: Duration,
    /// Both, on the thread that asks.
    pub(super) this_thread: Duration,
}

/// What was used so far; `None` where there is no proc file system.
pub(super) fn used() -> Option<Cpu> {
    let (user, system) = times(&std::fs::read_to_string("/proc/self/stat").ok()?)?;
    let (thread_user, thread_system) = times(&std::fs::read_to_string("/proc/thread-self/stat").ok()?)?;
    Some(Cpu { user, system, this_thread: thread_user + thread_system })
}

/// User and system time: fields 14 and 15. The name, field 2, stands in parentheses and may contain anything.
fn times(stat: &str) -> Option<(Duration, Duration)> {
    let mut after_name = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut next = || after_name.next()?.parse().ok().map(|ticks: u32| TICK * ticks);
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_may_look_like_fields() {
        let stat = "7 (a) 1 (b)) S 1 7 7 0 -1 4194304 105 0 0 0 12 345 0 0 20 0 1 0 2456328";
        assert_eq!(times(stat), Some((Duration::from_millis(120), Duration::from_millis(3450))));
        assert_eq!(times("7 (a) S 1"), None);
    }

    #[test]
    fn the_kernel_is_understood() {
        let cpu = used().unwrap();
        assert!(cpu.this_thread <= cpu.user + cpu.system + TICK, "{cpu:?}");
    }
}
