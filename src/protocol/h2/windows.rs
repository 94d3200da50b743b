//! Flow control (RFC 9113 §5.2, §6.9): how much each side may send, on a stream and on the whole connection. Only DATA
//! counts, with its padding.

use super::error::Fault;

/// The window of a connection, and of a stream until SETTINGS say otherwise, in bytes (RFC 9113 §6.9.2).
pub const INITIAL_WINDOW_BYTES: u32 = 65_535;
/// No window is larger, in bytes (RFC 9113 §6.9.1).
pub const WINDOW_BYTES_MAX: u32 = 0x7fff_ffff;

/// How much we may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendWindow(i32);

impl SendWindow {
    /// A window of so many bytes, at most 2^31 - 1.
    pub fn new(bytes: u32) -> SendWindow {
        SendWindow(i32::try_from(bytes).unwrap_or(i32::MAX))
    }

    /// How many bytes may be sent now.
    pub fn available(self) -> u32 {
        u32::try_from(self.0).unwrap_or(0)
    }

    /// The window as it is. It is negative if the peer made it smaller than what was already sent (§6.9.2).
    pub fn bytes(self) -> i32 {
        self.0
    }

    /// So many bytes are sent; at most what is available.
    pub fn spend(&mut self, bytes: u32) {
        debug_assert!(bytes <= self.available(), "more is sent than the window allows");
        self.0 -= i32::try_from(bytes).unwrap_or(i32::MAX);
    }

    /// WINDOW_UPDATE. Whether a window that is too large ends the stream or the connection depends on whose it is.
    ///
    /// # Errors
    /// The window would be larger than 2^31 - 1 (§6.9.1).
    pub fn widen(&mut self, increment: u32) -> Result<(), Fault> {
        let widened = i32::try_from(increment).ok().and_then(|increment| self.0.checked_add(increment));
        self.0 = widened.ok_or(Fault::flow_control("a window grows beyond 2^31 - 1", "RFC 9113 §6.9.1"))?;
        Ok(())
    }

    /// The peer has changed SETTINGS_INITIAL_WINDOW_SIZE. The windows of all streams change by the difference, and may
    /// become negative (§6.9.2).
    ///
    /// # Errors
    /// The window would be larger than 2^31 - 1: the connection ends (§6.9.2).
    pub fn shift(&mut self, before: u32, after: u32) -> Result<(), Fault> {
        let shifted = i64::from(self.0) + i64::from(after) - i64::from(before);
        let too_large = Fault::flow_control("SETTINGS make a window larger than 2^31 - 1", "RFC 9113 §6.9.2");
        self.0 = i32::try_from(shifted).map_err(|_| too_large)?;
        Ok(())
    }
}

/// How much the peer may send. `size` is what may be under way or wait to be consumed at any time:
///
/// `size` = what the peer may still send + what has arrived and was not consumed + what was consumed and not announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiveWindow {
    size: u32,
    /// What the peer may still send. Negative only after [`shift`](ReceiveWindow::shift).
    left: i32,
    /// What was consumed, and is not yet announced by WINDOW_UPDATE.
    unannounced: u32,
}

impl ReceiveWindow {
    /// A window of so many bytes, at most 2^31 - 1.
    pub fn new(bytes: u32) -> ReceiveWindow {
        let size = bytes.min(WINDOW_BYTES_MAX);
        ReceiveWindow { size, left: size as i32, unannounced: 0 }
    }

    /// DATA with so many bytes of payload.
    ///
    /// # Errors
    /// The peer had no right to send so much (§6.9.1).
    pub fn receive(&mut self, bytes: u32) -> Result<(), Fault> {
        if i64::from(bytes) > i64::from(self.left) {
            return Err(Fault::flow_control("more DATA than the window allows", "RFC 9113 §6.9.1"));
        }
        self.left -= bytes as i32;
        Ok(())
    }

    /// So many bytes that had arrived were consumed. Returns the increment of the WINDOW_UPDATE that is now due: when half
    /// of the window is free and not announced. Few updates are sent, and the peer does not come to a stop.
    ///
    /// If everything that had arrived is consumed, the window is what slows the peer down. Then it becomes four times as large, up to
    /// `size_max` bytes.
    pub fn consume(&mut self, bytes: u32, size_max: u32) -> Option<u32> {
        debug_assert!(bytes <= self.unconsumed(), "more was consumed than had arrived");
        self.unannounced += bytes;
        if self.unannounced == 0 || self.unannounced < self.size.div_ceil(2) {
            return None;
        }
        if self.unconsumed() == 0 && self.size < size_max {
            self.resize(self.size.saturating_mul(4).min(size_max));
        }
        let increment = std::mem::take(&mut self.unannounced);
        self.left += increment as i32;
        Some(increment)
    }

    /// Makes the window larger. Returns the increment of the WINDOW_UPDATE that tells the peer, if it has grown.
    pub fn grow(&mut self, size: u32) -> Option<u32> {
        self.resize(size.min(WINDOW_BYTES_MAX));
        let increment = std::mem::take(&mut self.unannounced);
        self.left += increment as i32;
        (increment > 0).then_some(increment)
    }

    /// The peer has acknowledged our SETTINGS_INITIAL_WINDOW_SIZE, which it had believed to be `before` (§6.9.2).
    pub fn shift(&mut self, before: u32, after: u32) {
        let difference = i64::from(after) - i64::from(before);
        let shifted = |bytes: i64| (bytes + difference).clamp(-i64::from(i32::MAX), i64::from(i32::MAX));
        self.left = shifted(self.left.into()) as i32;
        self.size = shifted(self.size.into()).max(0) as u32;
    }

    /// What has arrived and was not consumed, in bytes.
    pub fn unconsumed(&self) -> u32 {
        (i64::from(self.size) - i64::from(self.left) - i64::from(self.unannounced)).max(0) as u32
    }

    /// What the peer may still send, in bytes.
    pub fn left(&self) -> i32 {
        self.left
    }

    /// What may be under way or wait, in bytes.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// What the window grows by is free at once.
    fn resize(&mut self, size: u32) {
        self.unannounced += size.saturating_sub(self.size);
        self.size = self.size.max(size);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_send_window_may_become_negative_and_comes_back() {
        let mut window = SendWindow::new(100);
        window.spend(80);
        window.shift(100, 10).expect("smaller");
        assert_eq!((window.bytes(), window.available()), (-70, 0));
        window.widen(70).expect("not too large");
        assert_eq!(window.available(), 0);
        window.widen(1).expect("not too large");
        assert_eq!(window.available(), 1);
    }

    #[test]
    fn a_send_window_is_never_larger_than_it_may_be() {
        let mut window = SendWindow::new(WINDOW_BYTES_MAX - 1);
        assert_eq!(window.widen(1), Ok(()));
        assert_eq!(window.widen(1).map_err(|fault| fault.section), Err("RFC 9113 §6.9.1"));
        assert_eq!(window.shift(0, 1).map_err(|fault| fault.section), Err("RFC 9113 §6.9.2"));
        window.spend(1);
        assert_eq!(window.shift(0, 1), Ok(()));
    }

    #[test]
    fn an_update_is_sent_at_half_the_window() {
        let mut window = ReceiveWindow::new(100);
        window.receive(90).expect("within the window");
        assert_eq!(window.consume(49, 100), None);
        assert_eq!(window.consume(1, 100), Some(50));
        assert_eq!((window.left(), window.unconsumed()), (60, 40));
        assert!(window.receive(61).is_err());
        assert_eq!(window.receive(60), Ok(()));
    }

    #[test]
    fn the_window_of_an_upload_that_is_consumed_grows_up_to_its_bound() {
        let mut window = ReceiveWindow::new(100);
        let mut sizes = Vec::new();
        for _ in 0..4 {
            window.receive(window.size()).expect("all of it");
            let size = window.size();
            assert_eq!(window.consume(size, 1000), Some(window.size()));
            sizes.push(window.size());
        }
        assert_eq!(sizes, [400, 1000, 1000, 1000]);
        window.receive(1000).expect("all of it");
        assert_eq!(window.consume(900, 10_000), Some(900), "what waits does not let it grow");
    }

    #[test]
    fn the_window_of_a_connection_grows_at_once() {
        let mut window = ReceiveWindow::new(INITIAL_WINDOW_BYTES);
        assert_eq!(window.grow(1 << 20), Some((1 << 20) - 65_535));
        assert_eq!(window.grow(1 << 20), None);
        assert_eq!(window.receive(1 << 20), Ok(()));
    }

    #[test]
    fn a_smaller_setting_makes_windows_smaller_when_it_is_acknowledged() {
        let mut window = ReceiveWindow::new(100);
        window.receive(80).expect("within the window");
        window.shift(100, 30);
        assert_eq!((window.left(), window.unconsumed()), (-50, 80));
        assert!(window.receive(1).is_err());
        assert_eq!(window.consume(80, 30), Some(80));
        assert_eq!((window.left(), window.unconsumed()), (30, 0));
        let mut empty = ReceiveWindow::new(0);
        assert_eq!(empty.consume(0, 0), None, "no update says nothing");
    }

    #[derive(Debug, Clone)]
    enum Happening {
        Send(u32),
        Widen(u32),
        Shift(u32),
    }

    fn happening() -> impl Strategy<Value = Happening> {
        let amount = || prop_oneof![0..100_u32, any::<u32>().prop_map(|n| n >> 1)];
        prop_oneof![
            amount().prop_map(Happening::Send),
            amount().prop_map(Happening::Widen),
            amount().prop_map(Happening::Shift),
        ]
    }

    proptest! {
        #[test]
        fn a_send_window_is_the_sum_of_what_has_happened(happenings in prop::collection::vec(happening(), 0..40)) {
            let (mut window, mut setting) = (SendWindow::new(INITIAL_WINDOW_BYTES), INITIAL_WINDOW_BYTES);
            let mut sum = i128::from(setting);
            for happening in happenings {
                let (change, result) = match happening {
                    Happening::Send(bytes) => {
                        let bytes = bytes.min(window.available());
                        window.spend(bytes);
                        (-i128::from(bytes), Ok(()))
                    }
                    Happening::Widen(bytes) => (i128::from(bytes), window.widen(bytes)),
                    Happening::Shift(to) => {
                        let from = std::mem::replace(&mut setting, to);
                        (i128::from(to) - i128::from(from), window.shift(from, to))
                    }
                };
                prop_assert_eq!(result.is_err(), sum + change > i128::from(WINDOW_BYTES_MAX));
                if result.is_err() {
                    return Ok(());
                }
                sum += change;
                prop_assert_eq!(i128::from(window.bytes()), sum);
                prop_assert_eq!(i128::from(window.available()), sum.max(0));
            }
        }

        /// A peer that counts for itself what it may send.
        #[test]
        fn no_credit_is_lost_or_made_up(
            size in 1..2000_u32,
            grown in 1..5000_u32,
            steps in prop::collection::vec((0..800_u32, 0..800_u32), 0..60),
        ) {
            let mut window = ReceiveWindow::new(size);
            let (mut credit, mut waiting) = (u64::from(size), 0);
            for (send, consume) in steps {
                let send = u64::from(send).min(credit) as u32;
                prop_assert_eq!(window.receive(send), Ok(()));
                credit -= u64::from(send);
                waiting += send;
                prop_assert_eq!(window.unconsumed(), waiting);
                let consume = consume.min(waiting);
                waiting -= consume;
                credit += u64::from(window.consume(consume, grown).unwrap_or(0));
                prop_assert_eq!(window.left() as u64, credit);
                prop_assert!(credit + u64::from(waiting) <= u64::from(window.size()));
                prop_assert!(window.size() <= size.max(grown));
                // A peer that has nothing under way and whose data is consumed can always send.
                prop_assert!(waiting > 0 || credit > u64::from(window.size() / 2) || window.size() == 0);
                let excess = window.left() as u32 + 1;
                prop_assert!(window.receive(excess).is_err());
            }
        }
    }
}
