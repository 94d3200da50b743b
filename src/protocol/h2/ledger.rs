//! What a connection has done that costs the server more than its peer, and when it is enough.
//!
//! Each kind of misbehaviour is charged to an account. An account has a budget that comes back with time or with good
//! conduct. The tables below are all there is to it; how large the budgets are is a matter of settings.

use crate::base::limits::Http2Limits;
use crate::base::moment::Moment;

/// What is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehaviour {
    /// RST_STREAM from the peer before our response had begun (CVE-2023-44487).
    ResetBeforeAnswer,
    /// The peer made us reset a stream (CVE-2025-8671).
    ForcedReset,
    /// A frame that is ignored, or comes late for a closed stream.
    Glitch,
    /// A frame that does nothing: DATA without content and without END_STREAM, SETTINGS without effect.
    EmptyFrame,
    /// PING, if nothing was sent on a stream since the last one.
    Ping,
    /// SETTINGS behind the first.
    Settings,
    /// A WINDOW_UPDATE that leaves a stream with content, or the connection, less than 256 bytes of window.
    TinyWindow,
}

/// What is charged to whom, and how much at most: one line for each kind, with its name in reports.
const KINDS: [(Misbehaviour, &str, Account, u32); 7] = [
    (Misbehaviour::ResetBeforeAnswer, "reset-before-answer", Account::Resets, 1),
    (Misbehaviour::ForcedReset, "forced-reset", Account::Glitches, 1),
    (Misbehaviour::Glitch, "glitch", Account::Glitches, 1),
    (Misbehaviour::EmptyFrame, "empty-frame", Account::Glitches, 1),
    (Misbehaviour::Ping, "ping", Account::Glitches, 1),
    (Misbehaviour::Settings, "settings", Account::Glitches, 1),
    (Misbehaviour::TinyWindow, "tiny-window", Account::TinyWindows, SMALL_BYTES),
];

/// What has a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// Resets by the peer. A stream that ends normally gives one back. If nothing is left, new streams are delayed.
    Resets,
    /// Everything else that is counted. It comes back with time.
    Glitches,
    /// DATA frames of less than 256 bytes, each charged what it lacks. It comes back when the content is consumed.
    SmallData,
    /// Windows of less than 256 bytes, each charged what it lacks. It comes back with the content that is sent, and with
    /// time: HAProxy opens a window again by exactly what it has just consumed, so that a small frame brings on the next.
    TinyWindows,
}

/// Accounts, and their names in reports.
const ACCOUNTS: [(Account, &str); 4] = [
    (Account::Resets, "resets"),
    (Account::Glitches, "glitches"),
    (Account::SmallData, "small-data"),
    (Account::TinyWindows, "tiny-windows"),
];

/// DATA frames and windows of so many bytes and more are not small.
const SMALL_BYTES: u32 = 256;
/// From so much of a budget on the connection takes no new streams.
const WARNED_PERCENT: u32 = 75;

/// What follows from a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[must_use]
pub enum Standing {
    /// Nothing.
    Good,
    /// Three quarters of a budget are spent: GOAWAY, and no new streams.
    Warned,
    /// A budget is spent: the connection ends with ENHANCE_YOUR_CALM.
    Exhausted,
}

/// The accounts of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Ledger {
    /// In the order of `ACCOUNTS`.
    budgets: [Budget; ACCOUNTS.len()],
    /// What is charged, in the same order.
    spent: [Spent; ACCOUNTS.len()],
    /// How often each kind has occurred, in the order of `KINDS`.
    counts: [u32; KINDS.len()],
}

#[derive(Debug, Clone, Copy)]
struct Budget {
    /// So much may be charged, at least 1.
    max: u32,
    /// So much of it comes back in a second.
    per_second: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    /// In thousandths, so that parts of a second count.
    thousandths: u64,
    since: Moment,
}

impl Budget {
    fn of(account: Account, limits: &Http2Limits) -> Budget {
        let (max, per_second) = match account {
            Account::Resets => (limits.resets_max, 0),
            Account::Glitches => (limits.glitches_max, limits.glitches_per_second),
            Account::SmallData => (limits.small_data_bytes_max, 0),
            Account::TinyWindows => {
                (limits.small_data_bytes_max, limits.glitches_per_second.saturating_mul(SMALL_BYTES))
            }
        };
        Budget { max: max.max(1), per_second }
    }

    /// As `Spent` counts.
    fn thousandths(self) -> u64 {
        u64::from(self.max) * 1000
    }
}

impl Ledger {
    /// Accounts of which nothing is spent.
    pub fn new(limits: &Http2Limits) -> Ledger {
        let budgets = ACCOUNTS.map(|(account, _)| Budget::of(account, limits));
        Ledger { budgets, spent: Default::default(), counts: [0; KINDS.len()] }
    }

    /// Charges a misbehaviour.
    pub fn charge(&mut self, what: Misbehaviour, now: Moment) -> Standing {
        let (.., cost) = KINDS[what as usize];
        self.charge_so_much(what, cost, now)
    }

    /// Charges a window that a WINDOW_UPDATE has left to a stream with content, if that is tiny.
    pub fn charge_window(&mut self, window_bytes: u32, now: Moment) -> Standing {
        match SMALL_BYTES.saturating_sub(window_bytes) {
            0 => Standing::Good,
            lacking => self.charge_so_much(Misbehaviour::TinyWindow, lacking, now),
        }
    }

    /// So much content was sent.
    pub fn on_sent(&mut self, content_bytes: u32) {
        let tiny = &mut self.spent[Account::TinyWindows as usize].thousandths;
        *tiny = tiny.saturating_sub(u64::from(content_bytes) * 1000);
    }

    /// A stream has ended normally.
    pub fn on_good_end(&mut self) {
        let resets = &mut self.spent[Account::Resets as usize].thousandths;
        *resets = resets.saturating_sub(1000);
    }

    /// Charges a DATA frame with so much content, if that is little. Returns what was charged; it is to be given
    /// [back](Ledger::refund_data).
    pub fn charge_data(&mut self, content_bytes: u32, now: Moment) -> (u32, Standing) {
        let charge = if content_bytes == 0 { 0 } else { SMALL_BYTES.saturating_sub(content_bytes) };
        (charge, self.spend(Account::SmallData, charge, now))
    }

    /// Content was consumed for which so much was charged.
    pub fn refund_data(&mut self, charged: u32) {
        let spent = &mut self.spent[Account::SmallData as usize].thousandths;
        *spent = spent.saturating_sub(u64::from(charged) * 1000);
    }

    /// Whether new streams are delayed: the peer has reset as many as it may.
    pub fn delays_new_streams(&self) -> bool {
        let resets = Account::Resets as usize;
        self.spent[resets].thousandths >= self.budgets[resets].thousandths()
    }

    /// How much of each budget is spent, in percent.
    pub fn percent_spent(&self, account: Account, now: Moment) -> u32 {
        let budget = self.budgets[account as usize];
        let spent = self.spent[account as usize].at(now, budget.per_second);
        u32::try_from(spent * 100 / budget.thousandths()).unwrap_or(u32::MAX)
    }

    /// How much of each budget is spent, in percent, by the name of the account.
    pub fn percentages(&self, now: Moment) -> impl Iterator<Item = (&'static str, u32)> {
        ACCOUNTS.into_iter().map(move |(account, name)| (name, self.percent_spent(account, now)))
    }

    /// What has occurred at least once, and how often.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u32)> {
        KINDS.iter().zip(self.counts).map(|((_, name, ..), count)| (*name, count)).filter(|(_, count)| *count > 0)
    }

    /// Why, in one line: what has occurred, and how much of each budget is spent.
    pub fn summary(&self, now: Moment) -> String {
        let mut words: Vec<String> = self.counts().map(|(name, count)| format!("{name}={count}")).collect();
        let spent = self.percentages(now).filter(|(_, percent)| *percent > 0);
        words.extend(spent.map(|(name, percent)| format!("{name}={percent}%")));
        words.join(" ")
    }

    fn charge_so_much(&mut self, what: Misbehaviour, cost: u32, now: Moment) -> Standing {
        let kind = what as usize;
        let (_, _, account, _) = KINDS[kind];
        self.counts[kind] = self.counts[kind].saturating_add(1);
        self.spend(account, cost, now)
    }

    fn spend(&mut self, account: Account, cost: u32, now: Moment) -> Standing {
        let (budget, spent) = (self.budgets[account as usize], &mut self.spent[account as usize]);
        let limit = budget.thousandths();
        let sum = spent.at(now, budget.per_second) + u64::from(cost) * 1000;
        *spent = Spent { thousandths: sum.min(limit), since: now };
        // New streams are delayed when this budget is spent, and nothing else happens.
        if account == Account::Resets || sum * 100 < limit * u64::from(WARNED_PERCENT) {
            return Standing::Good;
        }
        if sum < limit { Standing::Warned } else { Standing::Exhausted }
    }
}

impl Spent {
    /// What is still spent at this moment, in thousandths.
    fn at(self, now: Moment, per_second: u32) -> u64 {
        let nanos = u128::from(now.nanos_since(self.since));
        let back = nanos * u128::from(per_second) / 1_000_000;
        self.thousandths.saturating_sub(u64::try_from(back).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Moment = Moment::from_millis(5000);

    #[test]
    fn the_tables_are_in_the_order_of_their_kinds() {
        for (index, (kind, ..)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
        for (index, (account, ..)) in ACCOUNTS.iter().enumerate() {
            assert_eq!(*account as usize, index);
        }
    }

    #[test]
    fn glitches_warn_at_three_quarters_and_end_at_the_whole() {
        let mut ledger = Ledger::new(&Http2Limits::default());
        for _ in 0..74 {
            assert_eq!(ledger.charge(Misbehaviour::ForcedReset, NOW), Standing::Good);
        }
        for _ in 75..100 {
            assert_eq!(ledger.charge(Misbehaviour::EmptyFrame, NOW), Standing::Warned);
        }
        assert_eq!(ledger.percent_spent(Account::Glitches, NOW), 99);
        assert_eq!(ledger.charge(Misbehaviour::Settings, NOW), Standing::Exhausted);
        let counts: Vec<_> = ledger.counts().collect();
        assert_eq!(counts, [("forced-reset", 74), ("empty-frame", 25), ("settings", 1)]);
    }

    #[test]
    fn ten_glitches_come_back_in_a_second() {
        let mut ledger = Ledger::new(&Http2Limits::default());
        for _ in 0..70 {
            assert_eq!(ledger.charge(Misbehaviour::Ping, NOW), Standing::Good);
        }
        let later = Moment::from_millis(6050);
        assert_eq!(ledger.percent_spent(Account::Glitches, later), 59);
        let mut at = 6050;
        for _ in 0..1000 {
            at += 100;
            assert_eq!(ledger.charge(Misbehaviour::Ping, Moment::from_millis(at)), Standing::Good);
        }
        assert_eq!(ledger.percent_spent(Account::Glitches, Moment::from_millis(at + 60_000)), 0);
    }

    #[test]
    fn resets_delay_new_streams_and_good_ends_make_up_for_them() {
        let mut ledger = Ledger::new(&Http2Limits::default());
        for _ in 0..99 {
            assert_eq!(ledger.charge(Misbehaviour::ResetBeforeAnswer, NOW), Standing::Good);
            assert!(!ledger.delays_new_streams());
        }
        for _ in 0..50 {
            assert_eq!(ledger.charge(Misbehaviour::ResetBeforeAnswer, NOW), Standing::Good);
            assert!(ledger.delays_new_streams());
        }
        ledger.on_good_end();
        assert!(!ledger.delays_new_streams(), "what is beyond the budget is not owed");
    }

    #[test]
    fn small_data_is_charged_until_it_is_consumed() {
        let mut ledger = Ledger::new(&Http2Limits::default());
        assert_eq!(ledger.charge_data(256, NOW), (0, Standing::Good));
        assert_eq!(ledger.charge_data(0, NOW), (0, Standing::Good), "that is an empty frame");
        let mut charged = 0;
        for _ in 0..192 {
            let (charge, standing) = ledger.charge_data(1, NOW);
            assert_eq!((charge, standing), (255, Standing::Good));
            charged += charge;
        }
        assert_eq!(ledger.charge_data(1, NOW).1, Standing::Warned);
        ledger.refund_data(charged + 255);
        assert_eq!(ledger.percent_spent(Account::SmallData, NOW), 0);
        let last = (0..258).map(|_| ledger.charge_data(1, NOW).1).last();
        assert_eq!(last, Some(Standing::Exhausted));
    }

    #[test]
    fn tiny_windows_are_made_up_for_by_what_is_sent() {
        let mut ledger = Ledger::new(&Http2Limits::default());
        assert_eq!(ledger.charge_window(256, NOW), Standing::Good);
        assert_eq!(ledger.counts().count(), 0);
        // One frame in five is small, as with HAProxy.
        for _ in 0..100_000 {
            assert_eq!(ledger.charge_window(17, NOW), Standing::Good);
            ledger.on_sent(17 + 4 * 16_384);
        }
        assert_eq!(ledger.percent_spent(Account::TinyWindows, NOW), 0);
        // Nobody can save up.
        let worst = |ledger: &mut Ledger, times: usize| {
            let standings = (0..times).map(|_| {
                ledger.on_sent(1);
                ledger.charge_window(1, NOW)
            });
            standings.max()
        };
        assert_eq!(worst(&mut ledger, 193), Some(Standing::Good));
        assert_eq!(worst(&mut ledger, 60), Some(Standing::Warned));
        assert_eq!(worst(&mut ledger, 10), Some(Standing::Exhausted));
        assert_eq!(ledger.percent_spent(Account::TinyWindows, Moment::from_millis(6000)), 96);
    }

    #[test]
    fn budgets_are_those_of_the_limits() {
        let limits = Http2Limits {
            resets_max: 2,
            glitches_max: 4,
            glitches_per_second: 0,
            small_data_bytes_max: 1020,
            ..Http2Limits::default()
        };
        let mut ledger = Ledger::new(&limits);
        let resets = [(); 2].map(|()| {
            assert_eq!(ledger.charge(Misbehaviour::ResetBeforeAnswer, NOW), Standing::Good);
            ledger.delays_new_streams()
        });
        assert_eq!(resets, [false, true]);
        let later = |nth: u64| Moment::from_millis(5000 + nth * 60_000);
        let glitches = [0, 1, 2, 3].map(|nth| ledger.charge(Misbehaviour::Glitch, later(nth)));
        let expected = [Standing::Good, Standing::Good, Standing::Warned, Standing::Exhausted];
        assert_eq!(glitches, expected, "nothing comes back");
        assert_eq!([(); 4].map(|()| ledger.charge_data(1, NOW).1), expected);
        assert_eq!(
            ledger.summary(later(4)),
            "reset-before-answer=2 glitch=4 resets=100% glitches=100% small-data=100%"
        );
    }

    proptest! {
        /// With a charge every so many milliseconds the budget is exhausted if, and only if, that is too often.
        #[test]
        fn a_steady_rate_is_borne_or_not(every_ms in 1..300_u64) {
            let mut ledger = Ledger::new(&Http2Limits::default());
            let worst = (0..3000).map(|n| ledger.charge(Misbehaviour::Glitch, Moment::from_millis(n * every_ms))).max();
            let per_second = 1000.0 / every_ms as f64;
            if per_second <= 10.0 {
                prop_assert_eq!(worst, Some(Standing::Good));
            } else if per_second > 11.0 {
                prop_assert_eq!(worst, Some(Standing::Exhausted));
            }
        }
    }
}
