//! From the listeners that there are to those that are wanted.

use super::listener::{Address, ListenAddress};
use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;

/// What it takes to come from some listeners to others. Whatever is not named stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerChanges {
    /// Where nobody listens so far.
    pub open: Vec<ListenAddress>,
    /// Listeners that are for something else from now on.
    pub turn: Vec<(ListenerId, ListenerRole)>,
    /// Listeners that nobody wants any more.
    pub close: Vec<ListenerId>,
}

impl ListenerChanges {
    /// From the listeners `have`, each with the address that was asked for, to those that are wanted. A listener with the same
    /// address and role stays, one with the same address stays for another role. A port that the kernel chooses (0) is the same
    /// only for the same role.
    pub fn new(have: &[(ListenerId, ListenAddress)], want: &[ListenAddress]) -> ListenerChanges {
        let mut changes = ListenerChanges::default();
        let mut left: Vec<_> = have.iter().filter(|(_, have)| !want.contains(have)).collect();
        let missing = want.iter().filter(|want| !have.iter().any(|(_, have)| have == *want));
        for want in missing {
            let is_known = |have: &ListenAddress| have.address == want.address && has_place(&have.address);
            let (same, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, have)| is_known(have));
            left = others;
            if same.is_empty() {
                changes.open.push(want.clone());
            }
            changes.turn.extend(same.into_iter().map(|(id, _)| (*id, want.role)));
        }
        changes.close.extend(left.into_iter().map(|(id, _)| *id));
        changes
    }
}

/// Whether only one socket can be bound there.
fn has_place(address: &Address) -> bool {
    address.port() != Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<ListenAddress> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    /// What is opened, turned and closed, in words.
    fn changes(have: &[&str], want: &[&str]) -> [String; 3] {
        let have: Vec<_> = (0..).map(ListenerId::new).zip(addresses(have)).collect();
        let ListenerChanges { open, turn, close } = ListenerChanges::new(&have, &addresses(want));
        let words = |words: Vec<String>| words.join(" ");
        [
            words(open.iter().map(ListenAddress::to_string).collect()),
            words(turn.iter().map(|(id, role)| format!("{}={}", id.number(), role.scheme())).collect()),
            words(close.iter().map(|id| id.number().to_string()).collect()),
        ]
    }

    #[test]
    fn what_is_wanted_and_there_stays() {
        let same = ["127.0.0.1:80", "https:[::1]:443", "unix:/run/a", "localhost:8080", "localhost:8080", "0", "0"];
        assert_eq!(changes(&same, &same), ["", "", ""]);
        assert_eq!(changes(&["80", "https:443"], &["https:443", "80"]), ["", "", ""], "whatever the order");
        // Two sockets that were bound for one name.
        assert_eq!(changes(&["localhost:80", "localhost:80"], &["localhost:80"]), ["", "", ""]);
    }

    #[test]
    fn the_rest_is_opened_or_closed() {
        assert_eq!(changes(&[], &["80", "unix:/a"]), ["127.0.0.1:80 unix:/a", "", ""]);
        assert_eq!(changes(&["80", "unix:/a"], &[]), ["", "", "0 1"]);
        assert_eq!(changes(&["80", "81", "82"], &["81", "83"]), ["127.0.0.1:83", "", "0 2"]);
        assert_eq!(changes(&["127.0.0.1:80"], &[":80"]), ["[::]:80", "", "0"], "another address");
    }

    #[test]
    fn a_socket_stays_if_it_is_for_something_else() {
        assert_eq!(changes(&["80", "81"], &["https:80", "81"]), ["", "0=https", ""]);
        assert_eq!(changes(&["localhost:80", "localhost:80"], &["https:localhost:80"]), ["", "0=https 1=https", ""]);
        assert_eq!(changes(&["80", "https:81"], &["https:80", "81"]), ["", "0=https 1=http", ""], "they change places");
        assert_eq!(changes(&["0"], &["https:0"]), ["https:127.0.0.1:0", "", "0"]);
    }
}
