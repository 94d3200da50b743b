//! The chat where it meets its limits. What members hear is tested on the real server.

use std::time::Duration;

use super::*;
use crate::base::ring::RingBuffer;
use crate::http::exchange::Source;
use crate::service::lab::harness::{Request, World};

/// What a client gets that wants to enter a room.
fn enter(chat: &Chat, world: &World, query: &str) -> Result<Box<dyn Source>, Response> {
    let request = Request::get(&format!("/ws/chat?{query}"))
        .field("Connection", b"upgrade")
        .field("Upgrade", b"websocket")
        .field("Sec-WebSocket-Version", b"13")
        .field("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==");
    match chat.open(&request.head(), &Policy::default(), &mut world.cx()) {
        Reply::Upgrade(tunnel) => Ok(tunnel.content),
        Reply::Respond(response) => Err(response),
        Reply::Decide(_) => panic!("the answer is known at once"),
    }
}

/// What the member is sent, as far as there is room for it.
fn pull(member: &mut Box<dyn Source>, world: &World) -> String {
    let mut ring = RingBuffer::new(1 << 16);
    let mut room = ring.room(0, 1 << 16);
    member.pull(&mut room, &mut world.cx()).map(|_| ()).unwrap();
    let written = room.written();
    ring.seal(0, b"", written);
    String::from_utf8_lossy(&ring.readable().concat()).into_owned()
}

#[test]
fn there_is_a_last_room_and_whoever_leaves_one_makes_room_for_another() {
    let (chat, world) = (Chat::new(), World::new());
    let mut members: Vec<_> =
        (0..ROOMS_MAX).map(|n| enter(&chat, &world, &format!("room={n}")).ok().unwrap()).collect();
    let refused = enter(&chat, &world, "room=another").err().unwrap();
    assert_eq!(refused.status, Status::SERVICE_UNAVAILABLE);
    members.push(enter(&chat, &world, "room=7").ok().unwrap());
    members.swap_remove(3);
    assert!(enter(&chat, &world, "room=another").is_ok());
}

#[test]
fn whoever_fills_many_mailboxes_rests_so_that_others_get_their_turn() {
    let (chat, mut world) = (Chat::new(), World::new());
    let mut members: Vec<_> = (0..100).map(|_| enter(&chat, &world, "").ok().unwrap()).collect();
    // One byte of text, its mask of zeros changes nothing.
    let message = [0x81, 0x81, 0, 0, 0, 0, b'x'];
    let said = message.repeat(250);
    let a_beat = message.len() * room::DELIVERIES_PER_BEAT / members.len();
    let mut speaker = members.pop().unwrap();
    // Everybody has heard who came.
    for _ in 0..2 {
        world.now += Duration::from_millis(1);
        pull(&mut members[0], &world);
    }
    let mut taken = Vec::new();
    while taken.iter().sum::<usize>() < said.len() {
        taken.push(speaker.taker().unwrap().take(&said[taken.iter().sum()..], &mut world.cx()).unwrap());
        // The others are driven in a turn of their own.
        world.now += Duration::from_micros(500);
        pull(&mut members[0], &world);
        world.now += Duration::from_micros(500);
    }
    assert_eq!(taken, [a_beat, a_beat, said.len() - 2 * a_beat]);
}

#[test]
fn the_longest_message_in_its_longest_form_leaves_room_in_a_mailbox() {
    let (chat, mut world) = (Chat::new(), World::new());
    world.limits.ws_message_bytes_max = WS_MESSAGE_BYTES_LIMIT;
    let name = "%22".repeat(NAME_BYTES_MAX);
    let [mut speaker, mut other] = [(); 2].map(|()| enter(&chat, &world, &format!("name={name}")).ok().unwrap());
    pull(&mut speaker, &world);
    pull(&mut other, &world);
    let content = vec![1; WS_MESSAGE_BYTES_LIMIT];
    let said = [&[0x81, 0xfe][..], &(content.len() as u16).to_be_bytes(), &[0; 4], &content].concat();
    assert_eq!(speaker.taker().unwrap().take(&said, &mut world.cx()).unwrap(), said.len());
    let mut heard = String::new();
    loop {
        match pull(&mut other, &world) {
            next if next.is_empty() => break,
            next => heard += &next,
        }
    }
    let text = "\\u0001".repeat(content.len());
    assert!(heard.contains(&text), "all of it");
    assert!(heard.len() - text.len() < ESCAPED * NAME_BYTES_MAX + EVENT_BYTES && heard.len() <= WS_QUEUE_BYTES);
}

#[test]
fn nobody_is_sent_away_who_was_not_driven_since_the_last_word() {
    let (chat, mut world) = (Chat::new(), World::new());
    world.limits.ws_message_bytes_max = WS_MESSAGE_BYTES_LIMIT;
    let [mut speaker, mut other] = [(); 2].map(|()| enter(&chat, &world, "").ok().unwrap());
    pull(&mut other, &world);
    let content = vec![1; WS_MESSAGE_BYTES_LIMIT];
    let said = [&[0x81, 0xfe][..], &(content.len() as u16).to_be_bytes(), &[0; 4], &content].concat();
    assert_eq!(speaker.taker().unwrap().take(&said, &mut world.cx()).unwrap(), said.len());
    while !pull(&mut speaker, &world).is_empty() {}
    // The process had no core for a while, and in the next turn the speaker is driven first.
    world.now += Duration::from_millis(50);
    assert_eq!(speaker.taker().unwrap().take(&said, &mut world.cx()).unwrap(), 0);
    assert!(!pull(&mut other, &world).contains("too slow"));
    world.now += Duration::from_millis(50);
    assert_eq!(speaker.taker().unwrap().take(&said, &mut world.cx()).unwrap(), said.len());
    while let next = pull(&mut other, &world)
        && !next.is_empty()
    {
        assert!(!next.contains("too slow"));
    }
}

/// A client's text message; its mask of zeros changes nothing.
fn said(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 126).unwrap();
    [&[0x81, 0x80 | length, 0, 0, 0, 0][..], text.as_bytes()].concat()
}

#[test]
fn whoever_does_not_keep_up_is_gone_at_once_and_says_nothing_more() {
    let (chat, mut world) = (Chat::new(), World::new());
    world.limits.ws_queue_bytes_max = 1000;
    let mut slow = enter(&chat, &world, "name=slow").ok().unwrap();
    let mut fast = enter(&chat, &world, "name=fast").ok().unwrap();
    let mut heard = String::new();
    while !heard.contains("left") {
        assert!(heard.len() < 10_000, "nobody leaves: {heard}");
        fast.taker().unwrap().take(&said("hello"), &mut world.cx()).unwrap();
        heard += &pull(&mut fast, &world);
        world.now += Duration::from_millis(1);
    }
    assert!(heard.contains(r#"{"type":"left","name":"slow","members":1}"#), "{heard}");
    slow.taker().unwrap().take(&said("I am a ghost"), &mut world.cx()).unwrap();
    let told = pull(&mut slow, &world);
    assert!(told.contains("too slow for this room") && !told.contains("hello"), "{told}");
    drop(slow);
    assert_eq!(pull(&mut fast, &world), "", "it neither speaks nor leaves again");
    fast.taker().unwrap().take(&said("alone"), &mut world.cx()).unwrap();
    assert!(pull(&mut fast, &world).contains(r#""members":1,"text":"alone""#));
}

#[test]
fn the_welcome_comes_first_and_guests_are_numbered() {
    let (chat, world) = (Chat::new(), World::new());
    let mut first = enter(&chat, &world, "").ok().unwrap();
    let mut second = enter(&chat, &world, "name=&room=").ok().unwrap();
    let heard = pull(&mut second, &world);
    let (welcome, joined) = (heard.find("\"welcome\"").unwrap(), heard.find("\"joined\"").unwrap());
    assert!(welcome < joined && heard.contains("guest 2"), "{heard}");
    assert!(pull(&mut first, &world).contains(r#"{"type":"joined","name":"guest 2","members":2}"#));
    drop(second);
    assert!(pull(&mut first, &world).contains(r#"{"type":"left","name":"guest 2","members":1}"#));
}
