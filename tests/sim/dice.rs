//! Where every choice of a simulated world comes from: a seed, or the bytes of a fuzzer's input.

use std::time::Duration;

/// A small generator of its own, so that a seed means the same world for as long as this file is not changed.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
    script: Vec<u8>,
    at: usize,
    /// How many tags were given, if any are.
    tags: Option<u64>,
}

impl Dice {
    /// All choices follow from `seed`.
    pub fn new(seed: u64) -> Dice {
        Dice { state: seed, script: Vec::new(), at: 0, tags: None }
    }

    /// The first choices are read from `script`, a byte or two each; those after its end follow from its length.
    pub fn scripted(script: &[u8]) -> Dice {
        Dice { state: script.len() as u64, script: script.to_vec(), at: 0, tags: None }
    }

    /// Dice whose throws do not depend on how often these are thrown from now on.
    pub fn fork(&mut self) -> Dice {
        Dice::new(self.next())
    }

    /// From now on [`Dice::tag`] gives tags, which follow this one.
    pub fn give_tags(&mut self, last: u64) {
        self.tags = Some(last);
    }

    /// A number that no other request has, if requests get one.
    pub fn tag(&mut self) -> Option<u64> {
        let tag = self.tags.as_mut()?;
        *tag += 1;
        Some(*tag)
    }

    /// From 0 to `n - 1`; `n` is at least 1.
    pub fn below(&mut self, n: u64) -> u64 {
        let wide = n > 256;
        match self.scripted_byte() {
            None => self.next() % n,
            Some(low) if wide => (u64::from(low) | u64::from(self.scripted_byte().unwrap_or(0)) << 8) % n,
            Some(low) => u64::from(low) % n,
        }
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below((high - low + 1) as u64) as usize
    }

    /// From `low` to `high`, small ones as likely as large ones: every power of two has the same chance.
    pub fn size(&mut self, low: usize, high: usize) -> usize {
        let bits = self.between(low.max(1).ilog2() as usize, high.max(1).ilog2() as usize);
        self.between(1 << bits, (1 << (bits + 1)) - 1).clamp(low, high)
    }

    /// True with this chance in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.below(1000) < per_mille
    }

    /// A time span between two, in milliseconds.
    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(low + self.below(high - low + 1))
    }

    /// A time span between two, in microseconds.
    pub fn micros(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(low + self.below(high - low + 1))
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// Puts `items` into another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.between(0, last));
        }
    }

    fn scripted_byte(&mut self) -> Option<u8> {
        let byte = self.script.get(self.at).copied();
        self.at += usize::from(byte.is_some());
        byte
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_throws_for_ever() {
        let mut dice = Dice::new(1);
        let thrown: Vec<u64> = (0..4).map(|_| dice.below(1000)).collect();
        assert_eq!(thrown, [465, 519, 590, 235]);
    }

    #[test]
    fn sizes_stay_in_range() {
        let mut dice = Dice::new(2);
        for _ in 0..1000 {
            assert!((256..=5000).contains(&dice.size(256, 5000)));
        }
    }

    #[test]
    fn a_script_comes_before_the_seed() {
        let mut dice = Dice::scripted(&[7, 1, 1]);
        assert_eq!((dice.below(10), dice.below(1000)), (7, 257));
        let after_the_script = dice.below(1000);
        assert_eq!(Dice::new(3).below(1000), after_the_script);
    }
}
