//! How often somebody may ask: a token bucket for each client, or for each value of a field.
//!
//! A bucket holds `burst` tokens, and each request that is let through takes one. Tokens come back at the rate. What is kept of
//! a bucket is the moment at which it is full again (the "theoretical arrival time" of the generic cell rate algorithm, ITU-T
//! I.371): a bucket whose moment has passed is full, like one that is not there. A request that is refused takes no token.

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::client::ClientKey;
use super::expiries::Expiries;
use crate::http::fields::{FieldName, FieldValue, Fields};

/// So many clients of a limit are remembered at a time. If there are more, those are forgotten whose buckets are nearly full.
pub const CLIENTS_MAX: usize = 16_384;

/// The highest rate, in requests per unit of time, and the largest burst.
const REQUESTS_MAX: u32 = 1_000_000;

/// `10/s burst=20 by=client`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RateLimit {
    /// Requests in a unit of time, at least 1.
    rate: u32,
    unit: Unit,
    /// Tokens in a full bucket, at least 1.
    burst: u32,
    by: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Unit {
    Second,
    Minute,
    Hour,
}

/// What has a bucket of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum By {
    Client,
    /// Each value of this field, as it is written in lower case.
    Field(String),
}

impl Unit {
    const ALL: [(&'static str, Unit); 3] = [("s", Unit::Second), ("m", Unit::Minute), ("h", Unit::Hour)];

    fn seconds(self) -> u64 {
        match self {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3600,
        }
    }
}

impl FromStr for RateLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<RateLimit, String> {
        const FORM: &str =
            "expected a rate such as 10/s, 100/m or 1000/h, then burst=N and by=client or by=FIELD if wanted";
        let mut words = text.split_ascii_whitespace();
        let (rate, unit) = words.next().and_then(|rate| rate.split_once('/')).ok_or(FORM)?;
        let unit = Unit::ALL.iter().find(|(name, _)| *name == unit).ok_or(FORM)?.1;
        let rate = requests("the rate", rate)?;
        let (mut burst, mut by) = (None, None);
        for word in words {
            match word.split_once('=') {
                Some(("burst", number)) if burst.is_none() => burst = Some(requests("burst", number)?),
                Some(("by", "client")) if by.is_none() => by = Some(By::Client),
                Some(("by", field)) if by.is_none() => {
                    let name = FieldName::new(field).map_err(|_| format!("by={field}: not the name of a field"))?;
                    by = Some(By::Field(name.as_str().to_ascii_lowercase()));
                }
                Some((key @ ("burst" | "by"), _)) => return Err(format!("{key} is there twice")),
                _ => return Err(format!("{word:?}: {FORM}")),
            }
        }
        Ok(RateLimit { rate, unit, burst: burst.unwrap_or(rate), by: by.unwrap_or(By::Client) })
    }
}

/// A number of requests in a text.
fn requests(what: &str, text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=REQUESTS_MAX).contains(number));
    number.ok_or_else(|| format!("{what} is {text:?}, and must be a number from 1 to {REQUESTS_MAX}"))
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = Unit::ALL.iter().find(|(_, unit)| *unit == self.unit).map_or("", |(name, _)| name);
        write!(f, "{}/{unit} burst={} by={}", self.rate, self.burst, self.by)
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            By::Client => "client",
            By::Field(name) => name,
        })
    }
}

impl RateLimit {
    /// How long it takes for one token to come back, in nanoseconds; rounded up, so that the rate is never exceeded.
    fn interval(&self) -> u64 {
        (self.unit.seconds() * 1_000_000_000).div_ceil(u64::from(self.rate))
    }

    /// How long it takes for an empty bucket to be full, in nanoseconds: 114 years at most.
    fn full_after(&self) -> u64 {
        self.interval() * u64::from(self.burst)
    }

    /// What clients are told of it, as draft-ietf-httpapi-ratelimit-headers-11 §3 wants: so many requests in so many seconds.
    pub fn policy(&self) -> FieldValue {
        told(format!("\"{}\";q={};w={}", self.by, self.rate, self.unit.seconds()))
    }

    /// What clients are told that have to wait so long (§4): nothing is left for so many seconds.
    pub fn nothing_left(&self, seconds: u64) -> FieldValue {
        told(format!("\"{}\";r=0;t={seconds}", self.by))
    }
}

/// The name of a policy is a String (RFC 9651 §3.3.3). Neither `client` nor the name of a field has anything to be escaped.
fn told(text: String) -> FieldValue {
    FieldValue::new(text).unwrap_or(FieldValue::from_static("\"client\""))
}

/// The buckets of one limit.
#[derive(Debug)]
pub struct Limiter {
    limit: RateLimit,
    hasher: RandomState,
    began: Instant,
    /// When each bucket is full again, in nanoseconds since then.
    full_at: RefCell<Expiries>,
}

impl Limiter {
    /// All buckets are full. `now` is the earliest time that it will be asked about.
    pub fn new(limit: RateLimit, now: Instant) -> Limiter {
        let full_at = RefCell::new(Expiries::new(CLIENTS_MAX));
        Limiter { limit, hasher: RandomState::new(), began: now, full_at }
    }

    /// The limit.
    pub fn limit(&self) -> &RateLimit {
        &self.limit
    }

    /// Takes a token for this request, or says how long there will be none. A request without the field has the bucket of its
    /// client: otherwise whoever leaves the field out would have no limit, or would use up that of all others.
    pub fn take(&self, fields: Fields<'_>, client: ClientKey, now: Instant) -> Result<(), Duration> {
        self.take_from(self.bucket(fields, client), now)
    }

    /// How long there will be no token for this request; zero if there is one. Takes none.
    pub fn wait(&self, fields: Fields<'_>, client: ClientKey, now: Instant) -> Duration {
        self.next(self.bucket(fields, client), now).err().unwrap_or_default()
    }

    fn bucket(&self, fields: Fields<'_>, client: ClientKey) -> u64 {
        match &self.limit.by {
            By::Field(name) if fields.first(name).is_some() => {
                let mut hasher = self.hasher.build_hasher();
                fields.all(name).for_each(|value| value.hash(&mut hasher));
                hasher.finish()
            }
            By::Field(_) | By::Client => self.hasher.hash_one(client),
        }
    }

    fn take_from(&self, bucket: u64, now: Instant) -> Result<(), Duration> {
        let full_at = self.next(bucket, now)?;
        self.full_at.borrow_mut().put(bucket, full_at);
        Ok(())
    }

    /// When this bucket is full again, in nanoseconds, if a token is taken from it now; or how long there is none.
    fn next(&self, bucket: u64, now: Instant) -> Result<u64, Duration> {
        // From 1: what is remembered until 0 is not remembered.
        let now = 1 + now.saturating_duration_since(self.began).as_nanos() as u64;
        let full_at = self.full_at.borrow().get(bucket).max(now) + self.limit.interval();
        let latest = now + self.limit.full_after();
        if full_at <= latest { Ok(full_at) } else { Err(Duration::from_nanos(full_at - latest)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::sections::Section;

    fn limit(text: &str) -> RateLimit {
        text.parse().unwrap()
    }

    fn v4(n: u32) -> ClientKey {
        ClientKey::V4(n.to_be_bytes())
    }

    #[test]
    fn a_limit_is_read_and_printed() {
        for (text, shown) in [
            ("10/s", "10/s burst=10 by=client"),
            ("100/m burst=5", "100/m burst=5 by=client"),
            ("1/h by=X-Api-Key burst=2", "1/h burst=2 by=x-api-key"),
            ("1000000/s burst=1000000 by=client", "1000000/s burst=1000000 by=client"),
        ] {
            assert_eq!(limit(text).to_string(), shown);
            assert_eq!(limit(shown), limit(text));
        }
        for (text, what) in [
            ("", "expected a rate such as"),
            ("10", "expected a rate such as"),
            ("10/d", "expected a rate such as"),
            ("0/s", "the rate is \"0\", and must be a number from 1 to 1000000"),
            ("1000001/s", "the rate is \"1000001\""),
            ("-1/s", "the rate is \"-1\""),
            ("1.5/s", "the rate is \"1.5\""),
            ("10/s burst=0", "burst is \"0\""),
            ("10/s burst=1 burst=2", "burst is there twice"),
            ("10/s by=client by=X", "by is there twice"),
            ("10/s by=a:b", "by=a:b: not the name of a field"),
            ("10/s by=", "by=: not the name of a field"),
            ("10/s nodelay", "\"nodelay\": expected a rate such as"),
        ] {
            let error = text.parse::<RateLimit>().unwrap_err();
            assert!(error.starts_with(what), "{text}: {error}");
        }
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let now = Instant::now();
        let limiter = Limiter::new(limit("10/s burst=3"), now);
        let at = |ms| now + Duration::from_millis(ms);
        let take = |ms| limiter.take(Fields::default(), v4(1), at(ms));
        assert_eq!([take(0), take(0), take(0)], [Ok(()); 3]);
        assert_eq!(take(0), Err(Duration::from_millis(100)));
        assert_eq!(take(60), Err(Duration::from_millis(40)), "a request that is refused takes no token");
        assert_eq!(limiter.wait(Fields::default(), v4(1), at(60)), Duration::from_millis(40));
        assert_eq!(take(100), Ok(()));
        assert!(take(100).is_err());
        assert_eq!(limiter.take(Fields::default(), v4(2), at(100)), Ok(()), "another client has its own");
        assert_eq!([take(10_000), take(10_000), take(10_000)], [Ok(()); 3], "no more than a full bucket");
        assert!(take(10_000).is_err());
        assert!(take(5_000).is_err(), "time that goes backwards gives nothing");
    }

    #[test]
    fn a_field_has_buckets_by_its_value_and_who_leaves_it_out_has_the_clients() {
        let now = Instant::now();
        let limiter = Limiter::new(limit("1/h by=X-Key"), now);
        let take = |lines: &[(&str, &str)], client| limiter.take(Section::of(lines).fields(), v4(client), now).is_ok();
        assert!(take(&[("x-key", "a")], 1));
        assert!(!take(&[("X-KEY", "a")], 2));
        assert!(take(&[("x-key", "b")], 1));
        assert!(take(&[("x-key", "a"), ("x-key", "b")], 1), "two lines are another value");
        assert!(take(&[], 1));
        assert!(!take(&[("other", "a")], 1));
        assert!(take(&[], 2));
    }

    #[test]
    fn clients_are_told_the_limit() {
        let text = |value: FieldValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
        assert_eq!(text(limit("100/m burst=7").policy()), r#""client";q=100;w=60"#);
        assert_eq!(text(limit("5/s by=X-Key").policy()), r#""x-key";q=5;w=1"#);
        assert_eq!(text(limit("5/s by=X-Key").nothing_left(3)), r#""x-key";r=0;t=3"#);
    }

    /// Whoever has used up a bucket stays refused while others come in floods: they forget one another, not him.
    #[test]
    fn a_flood_of_clients_costs_a_bounded_number_of_looks_and_frees_nobody() {
        let now = Instant::now();
        let limiter = Limiter::new(limit("1/s burst=100"), now);
        let greedy = v4(7);
        while limiter.take(Fields::default(), greedy, now).is_ok() {}
        let before = limiter.full_at.borrow().looks();
        for client in 0..200_000 {
            assert_eq!(limiter.take(Fields::default(), v4(1000 + client), now), Ok(()), "nobody pays for others");
        }
        assert_eq!(limiter.full_at.borrow().looks() - before, 200_000 * 16);
        assert!(limiter.take(Fields::default(), greedy, now).is_err());
    }

    /// Counts tokens, in the time that they take to come back.
    struct Naive {
        level: u64,
        at: u64,
    }

    proptest! {
        #[test]
        fn it_lets_through_what_a_bucket_of_tokens_does(
            rate in 1..2000_u32,
            burst in 1..40_u32,
            unit in 0..3_usize,
            steps in prop::collection::vec((0..3_u32, 0..2_000_000_000_u64), 1..200),
        ) {
            let limit = RateLimit { rate, unit: Unit::ALL[unit].1, burst, by: By::Client };
            let (interval, capacity) = (limit.interval(), limit.full_after());
            let began = Instant::now();
            let limiter = Limiter::new(limit, began);
            let mut naive = [(); 3].map(|()| Naive { level: capacity, at: 0 });
            let (mut now, mut let_through) = (0, [0; 3]);
            for (client, step) in steps {
                now += step % (3 * interval);
                let bucket = &mut naive[client as usize];
                bucket.level = capacity.min(bucket.level + (now - bucket.at));
                bucket.at = now;
                let expected = if bucket.level >= interval {
                    bucket.level -= interval;
                    let_through[client as usize] += 1;
                    Ok(())
                } else {
                    Err(Duration::from_nanos(interval - bucket.level))
                };
                let given = limiter.take(Fields::default(), v4(client), began + Duration::from_nanos(now));
                prop_assert_eq!(given, expected);
            }
            for count in let_through {
                prop_assert!(count <= u64::from(burst) + now / interval);
            }
        }
    }
}
