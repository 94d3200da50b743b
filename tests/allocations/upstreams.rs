//! What a request to an upstream, and its response, allocate.

use allocation_counter::measure;
use tidemill::base::limits::Limits;
use tidemill::base::ring::RingBuffer;
use tidemill::http::fields::FieldSet;
use tidemill::http::message::Announced;
use tidemill::http::method::Method;
use tidemill::http::upstream::OutgoingRequest;
use tidemill::protocol::h1::client::{Client, Received};
use tidemill::protocol::h1::spans::Scratch;

const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nDate: x\r\nServer: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nT: 1\r\n\r\n";

/// All its memory is the caller's: rings, scratch memory, and what the head is written to.
#[test]
fn the_client_side_allocates_nothing() {
    let request = OutgoingRequest {
        method: Method::Get,
        target: b"/".to_vec(),
        host: b"a".to_vec(),
        lines: b"Accept: */*\r\n".to_vec(),
        content: Announced::Nothing,
        expects_continue: false,
        upgrade: None,
        takes_trailers: true,
    };
    let (mut client, mut inbox, mut scratch) = (Client::new(), RingBuffer::new(1024), Scratch::default());
    let (mut head, limits) = (Vec::with_capacity(1024), Limits::default());
    let mut exchange = || {
        head.clear();
        client.send_head(&request, &mut head);
        inbox.put(RESPONSE);
        loop {
            let n = match client.receive(&mut inbox, &mut scratch, &limits).unwrap() {
                Received::Content(n) => n,
                Received::Paused => break,
                _ => 0,
            };
            client.taken(&mut inbox, n);
        }
        assert!(client.cycle());
    };
    // The scratch memory grows to the largest head.
    exchange();
    assert_eq!(measure(&mut exchange).count_total, 0);
}

#[test]
fn a_set_of_received_fields_takes_four_allocations_however_many_they_are() {
    for count in [1, 3, 30, 100] {
        let values: Vec<String> = (0..count).map(|n| "v".repeat(n)).collect();
        let fields = values.iter().map(|value| (&b"Name"[..], value.as_bytes()));
        let counted = measure(|| assert_eq!(FieldSet::of_parsed(fields).len(), count));
        assert_eq!(counted.count_total, 4, "{count} fields");
    }
}
