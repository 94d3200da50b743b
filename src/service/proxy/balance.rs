//! How requests are shared out among the addresses that can take one.
//!
//! Weights are percentages. They differ only while an address starts slowly. Every choice looks at each candidate once, so
//! its cost is bounded by the number of addresses.

use std::net::{IpAddr, SocketAddr};

use crate::http::fields::FieldName;

/// The weight of an address that does not start slowly.
pub const WEIGHT_FULL: u32 = 100;

/// The rule by which requests are shared out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Balance {
    /// One after the other. Smooth: with weights 5, 1 and 1 the first address is chosen five times in seven, and not five
    /// times in a row.
    #[default]
    RoundRobin,
    /// The one with the fewest active requests for its weight. If several have equally few, the one that was chosen
    /// longest ago.
    LeastConn,
    /// By a key: the same key gets the same address while that can take requests. Without a key as `RoundRobin`.
    Hash(KeySource),
}

/// Where the key of a request comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// From the client's address.
    Client,
    /// From the first value of this field. A request without it has no key.
    Field(FieldName),
}

impl Balance {
    /// Its name, as in `balance=least-conn`.
    pub fn name(&self) -> &'static str {
        match self {
            Balance::RoundRobin => "round-robin",
            Balance::LeastConn => "least-conn",
            Balance::Hash(_) => "hash",
        }
    }

    /// Chooses one of the candidates. `turn` has to be larger with each call.
    pub fn choose<'a, I>(
        &self,
        key: Option<u64>,
        turn: u64,
        candidates: impl Iterator<Item = Candidate<'a, I>>,
    ) -> Option<I> {
        match (self, key) {
            (Balance::RoundRobin, _) | (Balance::Hash(_), None) => round_robin(candidates),
            (Balance::LeastConn, _) => least_conn(turn, candidates),
            (Balance::Hash(_), Some(key)) => rendezvous(key, candidates),
        }
    }
}

/// An address that can take a request.
#[derive(Debug)]
pub struct Candidate<'a, I> {
    /// What names it.
    pub id: I,
    /// 1 to [`WEIGHT_FULL`].
    pub weight: u32,
    /// How many requests it has.
    pub active: u32,
    /// What is remembered of it from one choice to the next.
    pub state: &'a mut BalanceState,
}

/// What is remembered of an address from one choice to the next.
#[derive(Debug, Clone, Default)]
pub struct BalanceState {
    /// Round-robin: by how much it got less than its share so far, in weights.
    credit: i64,
    /// Least-conn: when it was chosen last.
    turn: u64,
    /// Hash: what tells it from others. It depends on nothing but the address, so that each worker, and the next run of
    /// the server, gives a key to the same address.
    seed: u64,
}

impl BalanceState {
    /// That of an address. `name` is the upstream's: two of them may share an address.
    pub fn new(address: SocketAddr, name: &str) -> BalanceState {
        let seed = match address.ip() {
            IpAddr::V4(ip) => hash(&ip.octets()),
            IpAddr::V6(ip) => hash(&ip.octets()),
        };
        BalanceState { seed: mix(seed ^ u64::from(address.port())) ^ hash(name.as_bytes()), ..BalanceState::default() }
    }

    /// Forgets what it got before: it has been away.
    pub fn reset(&mut self) {
        self.credit = 0;
    }
}

/// The smooth weighted round-robin of nginx: each candidate is credited its weight, and the one with the most credit pays
/// for all.
fn round_robin<'a, I>(candidates: impl Iterator<Item = Candidate<'a, I>>) -> Option<I> {
    let mut total = 0;
    let mut best: Option<Candidate<'a, I>> = None;
    for candidate in candidates {
        let weight = i64::from(candidate.weight);
        candidate.state.credit += weight;
        total += weight;
        if best.as_ref().is_none_or(|best| candidate.state.credit > best.state.credit) {
            best = Some(candidate);
        }
    }
    let best = best?;
    best.state.credit -= total;
    Some(best.id)
}

fn least_conn<'a, I>(turn: u64, candidates: impl Iterator<Item = Candidate<'a, I>>) -> Option<I> {
    // The load that each would have with the request, on a common denominator.
    let load = |one: &Candidate<'a, I>, other: &Candidate<'a, I>| (u64::from(one.active) + 1) * u64::from(other.weight);
    let best = candidates.reduce(|best, candidate| {
        let (most, least) = (load(&best, &candidate), load(&candidate, &best));
        if (least, candidate.state.turn) < (most, best.state.turn) { candidate } else { best }
    })?;
    best.state.turn = turn;
    Some(best.id)
}

/// Rendezvous hashing: key and address together make a score, and the highest score wins. If an address leaves, only its
/// own keys get another one, and each of these may get a different one.
///
/// An address that starts slowly takes as large a part of its keys as its weight says. Which these are depends on the key,
/// so that a key moves to it once and stays.
fn rendezvous<'a, I>(key: u64, candidates: impl Iterator<Item = Candidate<'a, I>>) -> Option<I> {
    let score = |candidate: &Candidate<'a, I>| {
        let score = mix(key ^ candidate.state.seed);
        (mix(score) % u64::from(WEIGHT_FULL) < u64::from(candidate.weight), score)
    };
    candidates.max_by_key(score).map(|candidate| candidate.id)
}

/// A key for [`Balance::Hash`] out of bytes: a client's address, or the value of a field.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.chunks(size_of::<u64>()).fold(bytes.len() as u64, |hash, chunk| {
        let mut word = [0; size_of::<u64>()];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(hash ^ u64::from_le_bytes(word))
    })
}

/// Each bit of the result depends on all bits of the word (the step of SplitMix64).
pub fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: Balance = Balance::Hash(KeySource::Client);

    /// Addresses with weights and active requests, and the choices so far.
    struct Bench {
        states: Vec<BalanceState>,
        weights: Vec<u32>,
        active: Vec<u32>,
        turn: u64,
    }

    impl Bench {
        fn new(weights: &[u32]) -> Bench {
            let address = |index| SocketAddr::from(([10, 0, 0, index as u8], 80));
            let states = (0..weights.len()).map(|index| BalanceState::new(address(index), "a.example:80"));
            Bench { states: states.collect(), weights: weights.to_vec(), active: vec![0; weights.len()], turn: 0 }
        }

        fn choose(&mut self, balance: &Balance, key: Option<u64>, can: impl Fn(usize) -> bool) -> Option<usize> {
            self.turn += 1;
            let (weights, active) = (&self.weights, &self.active);
            let candidates = self.states.iter_mut().enumerate().filter(|(index, _)| can(*index));
            let candidates =
                candidates.map(|(id, state)| Candidate { id, weight: weights[id], active: active[id], state });
            balance.choose(key, self.turn, candidates)
        }

        fn counts(&mut self, balance: Balance, rounds: usize) -> Vec<usize> {
            let mut counts = vec![0; self.weights.len()];
            (0..rounds).for_each(|_| counts[self.choose(&balance, None, |_| true).unwrap()] += 1);
            counts
        }
    }

    #[test]
    fn nobody_is_chosen_out_of_nobody() {
        for balance in [Balance::RoundRobin, Balance::LeastConn, HASH] {
            assert_eq!(Bench::new(&[100]).choose(&balance, Some(1), |_| false), None);
        }
    }

    #[test]
    fn round_robin_is_smooth() {
        let mut bench = Bench::new(&[5, 1, 1]);
        let chosen: Vec<usize> = (0..7).map(|_| bench.choose(&Balance::RoundRobin, None, |_| true).unwrap()).collect();
        assert_eq!(chosen, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn ties_of_least_conn_rotate() {
        assert_eq!(Bench::new(&[100; 4]).counts(Balance::LeastConn, 10), [3, 3, 2, 2]);
    }

    #[test]
    fn a_slow_starter_gets_fewer_connections_at_a_time() {
        let mut bench = Bench::new(&[100, 25]);
        for _ in 0..100 {
            let chosen = bench.choose(&Balance::LeastConn, None, |_| true).unwrap();
            bench.active[chosen] += 1;
        }
        assert_eq!(bench.active, [80, 20]);
    }

    #[test]
    fn keys_are_spread_evenly_and_move_only_with_their_address() {
        let (mut bench, keys) = (Bench::new(&[100; 10]), 20_000);
        let of = |bench: &mut Bench, gone: usize| -> Vec<usize> {
            (0..keys).map(|key| bench.choose(&HASH, Some(mix(key)), |index| index != gone).unwrap()).collect()
        };
        let all = of(&mut bench, 10);
        for gone in 0..10 {
            let share = all.iter().filter(|index| **index == gone).count();
            assert!((1800..2200).contains(&share), "address {gone} has {share} of {keys} keys");
            let without = of(&mut bench, gone);
            let moved: Vec<usize> = (0..all.len()).filter(|key| all[*key] != without[*key]).collect();
            assert!(moved.iter().all(|key| all[*key] == gone) && moved.len() == share);
            let heirs: Vec<usize> =
                (0..10).map(|heir| moved.iter().filter(|key| without[**key] == heir).count()).collect();
            assert!((0..10).all(|heir| heir == gone || heirs[heir] > share / 20), "heirs of {gone}: {heirs:?}");
        }
    }

    #[test]
    fn a_slow_starters_keys_come_to_it_once_and_stay() {
        let mut bench = Bench::new(&[100; 4]);
        let of = |bench: &mut Bench| -> Vec<usize> {
            (0..10_000).map(|key| bench.choose(&HASH, Some(mix(key)), |_| true).unwrap()).collect()
        };
        let full = of(&mut bench);
        let its: Vec<usize> = (0..full.len()).filter(|key| full[*key] == 2).collect();
        let mut before = Vec::new();
        for weight in [1, 25, 50, 75, 100] {
            bench.weights[2] = weight;
            let now = of(&mut bench);
            assert!((0..full.len()).all(|key| now[key] == full[key] || (full[key] == 2 && now[key] != 2)));
            let has: Vec<usize> = its.iter().copied().filter(|key| now[*key] == 2).collect();
            assert!(before.iter().all(|key| has.contains(key)), "a key left again at {weight} %");
            let expected = its.len() * weight as usize / 100;
            assert!(has.len().abs_diff(expected) < its.len() / 20, "{} of {expected} at {weight} %", has.len());
            before = has;
        }
    }

    #[test]
    fn a_key_gets_the_same_address_in_every_run_of_the_server() {
        let mut bench = Bench::new(&[100; 5]);
        let of = |key: &str| bench.choose(&HASH, Some(hash(key.as_bytes())), |_| true).unwrap();
        assert_eq!(["", "a", "127.0.0.1", "a longer key than one word"].map(of), [3, 0, 4, 1]);
        assert_ne!(hash(b"a"), hash(b"a\0"), "the length counts");
    }

    proptest! {
        #[test]
        fn shares_of_round_robin_are_exact_to_one(count in 1..40_usize, rounds in 0..500_usize) {
            let counts = Bench::new(&vec![100; count]).counts(Balance::RoundRobin, rounds);
            prop_assert!(counts.iter().all(|count_of_one| *count_of_one == rounds / count
                || *count_of_one == rounds.div_ceil(count)), "{:?}", counts);
        }

        #[test]
        fn no_weight_gets_one_more_than_its_share(
            weights in proptest::collection::vec(1..=100_u32, 1..12), rounds in 0..800_usize,
        ) {
            let total: u32 = weights.iter().sum();
            for (count, weight) in Bench::new(&weights).counts(Balance::RoundRobin, rounds).into_iter().zip(&weights) {
                let share = rounds as f64 * f64::from(*weight) / f64::from(total);
                prop_assert!((count as f64) < share + 1.0, "{} for {}", count, share);
                prop_assert!((count as f64) > share - 2.0, "{} for {}", count, share);
            }
        }

        #[test]
        fn least_conn_is_that_of_a_naive_search(
            loads in proptest::collection::vec((0..20_u32, 1..=100_u32), 1..20), turns in 1..20_u64,
        ) {
            let mut bench = Bench::new(&loads.iter().map(|(_, weight)| *weight).collect::<Vec<_>>());
            bench.active = loads.iter().map(|(active, _)| *active).collect();
            for _ in 0..turns {
                let load = |index: usize| f64::from(bench.active[index] + 1) / f64::from(bench.weights[index]);
                let least = (0..loads.len()).map(load).fold(f64::INFINITY, f64::min);
                let tied = (0..loads.len()).filter(|index| load(*index) <= least * (1.0 + 1e-12));
                let naive = tied.min_by_key(|index| bench.states[*index].turn).unwrap();
                let chosen = bench.choose(&Balance::LeastConn, None, |_| true).unwrap();
                prop_assert_eq!(chosen, naive);
                bench.active[chosen] += 1;
            }
        }

        #[test]
        fn a_key_keeps_its_address_whatever_happens_to_others(key: u64, gone in proptest::collection::vec(any::<bool>(), 12)) {
            let mut bench = Bench::new(&[100; 12]);
            let first = bench.choose(&HASH, Some(key), |_| true).unwrap();
            let later = bench.choose(&HASH, Some(key), |index| index == first || !gone[index]);
            prop_assert_eq!(later, Some(first));
        }
    }
}
