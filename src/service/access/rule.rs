//! The rules by which a request is refused, and how often each was.

use std::cell::Cell;

/// Makes the rules, `ALL` of them, and their names from one list, so that none can be missing anywhere.
macro_rules! rules {
    ($($(#[$meaning:meta])* $rule:ident $name:literal;)*) => {
        /// Why a request was refused; a closed set, made to be printed and counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Rule {
            $($(#[$meaning])* $rule,)*
        }

        impl Rule {
            /// How many there are.
            pub const COUNT: usize = [$($name),*].len();

            /// All of them, each at its place: `ALL[rule as usize]` is `rule`.
            pub const ALL: [Rule; Rule::COUNT] = [$(Rule::$rule),*];

            /// As it is printed.
            pub fn name(self) -> &'static str {
                match self {
                    $(Rule::$rule => $name,)*
                }
            }
        }
    };
}

rules! {
    /// `allow` and `deny`: 403.
    Address "address";
    /// `max-connections-per-client`: 503.
    Connections "connections";
    /// `rate-limit`: 429.
    Rate "rate";
    /// The request has no credentials, or none of a kind that is asked for: 401. Browsers begin like this.
    Credentials "credentials";
    /// `basic-auth`: the user or the password is wrong: 401.
    Password "password";
    /// `bearer-tokens`: the token is not known: 401.
    Token "token";
    /// As many passwords as may wait to be checked are waiting: 503.
    Checks "password-checks";
}

/// Requests that were refused so far, by rule.
#[derive(Debug, Default)]
pub struct Refusals([Cell<u64>; Rule::COUNT]);

impl Refusals {
    /// One more by this rule.
    pub fn count(&self, rule: Rule) {
        let count = &self.0[rule as usize];
        count.set(count.get() + 1);
    }

    /// By `Rule::ALL`.
    pub fn counts(&self) -> [u64; Rule::COUNT] {
        self.0.each_ref().map(Cell::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_at_their_places_and_have_names_of_their_own() {
        for (index, rule) in Rule::ALL.into_iter().enumerate() {
            assert_eq!(rule as usize, index);
            assert_eq!(Rule::ALL.iter().filter(|other| other.name() == rule.name()).count(), 1);
        }
    }

    #[test]
    fn each_rule_is_counted_for_itself() {
        let refusals = Refusals::default();
        refusals.count(Rule::Rate);
        refusals.count(Rule::Rate);
        refusals.count(Rule::Address);
        assert_eq!(refusals.counts(), [1, 0, 2, 0, 0, 0, 0]);
    }
}
