//! The server's counters and strace agree, whatever is going on.

use crate::traced::{ACCOUNT_CALLS, Traced, difference};

#[test]
fn an_account_costs_what_is_known_and_nothing_else() {
    let Some(mut server) = Traced::start(&[]) else { return };
    server.account();
    server.account();
    let window = server.between_accounts();
    let busy: Vec<_> = window.busy().into_iter().collect();
    assert_eq!(busy, [], "nothing is left of {ACCOUNT_CALLS:?}: {:#?}", window.calls);
}

#[test]
fn the_loop_is_described_with_the_same_counters() {
    let Some(mut server) = Traced::start(&[]) else { return };
    server.account();
    let described = server.ask_admin("/loop?format=json");
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    let (trace, accounts) = server.finish();
    let calls = described["syscalls"].as_object().unwrap();
    let later = accounts[0].keys().map(|kind| (*kind, calls[*kind].as_u64().unwrap())).collect();
    assert_eq!(calls.len(), accounts[0].len(), "{calls:?}");
    let window = trace.between("GET /metrics", "GET /loop");
    assert_eq!(window.counts, difference(&later, &accounts[0]), "{:#?}", window.calls);
}
