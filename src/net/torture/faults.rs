//! Which faults there are, how people write them, and the random numbers that decide when they happen.

use std::fmt;
use std::str::FromStr;

/// What is done to reads and writes: `seed=7,short-read,short-write,would-block=0.1`, in any order, each at most once.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// The seed of all random numbers; 0 unless it is given.
    pub seed: u64,
    /// Each read gets only part of the room there is.
    pub short_read: bool,
    /// Each write, and each part of a file, is cut.
    pub short_write: bool,
    /// The chance, 0 to 0.9, that a read or write is told to wait although it need not.
    pub would_block: f64,
}

const EXPECTED: &str = "expected faults such as seed=7,short-read,short-write,would-block=0.1";

/// Above this, hardly anything would ever move.
const WOULD_BLOCK_MAX: f64 = 0.9;

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Faults, String> {
        let mut faults = Faults::default();
        let mut named = Vec::new();
        for word in text.split(',') {
            let name = word.split('=').next().unwrap_or(word);
            if named.contains(&name) {
                return Err(format!("expected {name} once"));
            }
            named.push(name);
            faults.add(word)?;
        }
        match named == ["seed"] {
            true => Err("expected a fault besides the seed: short-read, short-write or would-block=0.1".into()),
            false => Ok(faults),
        }
    }
}

impl Faults {
    fn add(&mut self, word: &str) -> Result<(), String> {
        match word.split_once('=') {
            None if word == "short-read" => self.short_read = true,
            None if word == "short-write" => self.short_write = true,
            Some(("seed", number)) => self.seed = seed(number)?,
            Some(("would-block", number)) => self.would_block = chance(number)?,
            _ => return Err(EXPECTED.into()),
        }
        Ok(())
    }
}

fn seed(text: &str) -> Result<u64, String> {
    // The parser would take a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| format!("expected seed=0 to seed={}", u64::MAX))
}

fn chance(text: &str) -> Result<f64, String> {
    // The parser would take signs, exponents and infinity.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = plain.then(|| text.parse().ok()).flatten();
    let possible = number.filter(|number| (0.0..=WOULD_BLOCK_MAX).contains(number));
    possible.ok_or_else(|| format!("expected would-block=0 to would-block={WOULD_BLOCK_MAX}"))
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed={}", self.seed)?;
        f.write_str(if self.short_read { ",short-read" } else { "" })?;
        f.write_str(if self.short_write { ",short-write" } else { "" })?;
        write!(f, ",would-block={}", self.would_block)
    }
}

/// A small generator (SplitMix64) with a stream of its own for each direction of each connection.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

/// Sizes are 1 to `2^SIZE_BITS - 1`.
const SIZE_BITS: u64 = 14;

impl Dice {
    pub(super) fn new(seed: u64, stream: u64) -> Dice {
        // Mixed again, so that neighbours have nothing in common.
        Dice(Dice(Dice(seed).next() ^ stream).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// True with chance `p`.
    pub(super) fn chance(&mut self, p: f64) -> bool {
        // 53 bits are what a float holds exactly.
        ((self.next() >> 11) as f64) < p * (1_u64 << 53) as f64
    }

    /// A number of bytes. Every power of two has the same chance: one byte in every fourteenth case, and enough in the
    /// others for large transfers to end.
    pub(super) fn size(&mut self) -> usize {
        let magnitude = 1 << (self.next() % SIZE_BITS);
        (magnitude + self.next() % magnitude) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_in_any_order_and_written_so_that_they_can_be_given_again() {
        let all = Faults { seed: 7, short_read: true, short_write: true, would_block: 0.1 };
        for (text, meaning) in [
            ("seed=7,short-read,short-write,would-block=0.1", all),
            ("would-block=.1,short-write,seed=007,short-read", all),
            ("short-read", Faults { short_read: true, ..Faults::default() }),
            ("short-write", Faults { short_write: true, ..Faults::default() }),
            ("would-block=0", Faults::default()),
            ("would-block=0.9", Faults { would_block: 0.9, ..Faults::default() }),
            ("seed=18446744073709551615,short-read", Faults { seed: u64::MAX, short_read: true, ..Faults::default() }),
        ] {
            assert_eq!(text.parse(), Ok(meaning), "{text}");
            assert_eq!(meaning.to_string().parse(), Ok(meaning), "{meaning}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_advice() {
        for text in
            ["", ",", "short-read,", "short", "seed", "short-read=1", "would-block", "Short-Read", " short-read"]
        {
            assert_eq!(text.parse::<Faults>(), Err(EXPECTED.into()), "{text}");
        }
        for text in ["would-block=0.91", "would-block=-0", "would-block=nan", "would-block=1e-1", "would-block=."] {
            let error = text.parse::<Faults>().unwrap_err();
            assert_eq!(error, "expected would-block=0 to would-block=0.9", "{text}");
        }
        for text in ["seed=", "seed=-1", "seed=+1", "seed=x", "seed=18446744073709551616"] {
            let error = text.parse::<Faults>().unwrap_err();
            assert_eq!(error, "expected seed=0 to seed=18446744073709551615", "{text}");
        }
        assert_eq!("short-read,short-read".parse::<Faults>().unwrap_err(), "expected short-read once");
        assert_eq!("seed=1,short-read,seed=2".parse::<Faults>().unwrap_err(), "expected seed once");
        assert!("seed=7".parse::<Faults>().unwrap_err().starts_with("expected a fault besides the seed"));
    }

    #[test]
    fn a_seed_means_the_same_for_ever() {
        // The first numbers of SplitMix64 from 1234567, as published with its description.
        let mut dice = Dice(1_234_567);
        let numbers = [(); 3].map(|()| dice.next());
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn streams_differ_and_can_be_had_again() {
        let stream = |seed, number| {
            let mut dice = Dice::new(seed, number);
            [(); 4].map(|()| dice.next())
        };
        let all: Vec<_> = (0..8).flat_map(|seed| (0..8).map(move |number| (seed, number))).collect();
        for (index, (seed, number)) in all.iter().enumerate() {
            assert_eq!(stream(*seed, *number), stream(*seed, *number));
            let others = all[..index].iter().map(|(seed, number)| stream(*seed, *number));
            assert!(others.into_iter().all(|other| other != stream(*seed, *number)), "{seed} {number}");
        }
    }

    #[test]
    fn sizes_are_often_one_and_sometimes_large() {
        let mut dice = Dice::new(7, 0);
        let sizes: Vec<usize> = (0..14_000).map(|_| dice.size()).collect();
        let count = |range: std::ops::Range<usize>| sizes.iter().filter(|size| range.contains(size)).count();
        assert_eq!(count(1..1 << SIZE_BITS), sizes.len());
        for bits in 0..SIZE_BITS {
            let share = count(1 << bits..2 << bits);
            assert!((800..1200).contains(&share), "2^{bits}: {share} of about 1000");
        }
    }

    #[test]
    fn chances_are_what_they_are_called() {
        let mut dice = Dice::new(7, 1);
        for (p, expected) in [(0.0, 0..1), (0.1, 900..1100), (0.9, 8900..9100)] {
            let count = (0..10_000).filter(|_| dice.chance(p)).count();
            assert!(expected.contains(&count), "{p}: {count} of 10000");
        }
    }
}
