use std::net::SocketAddr;

use super::*;
use crate::base::job_pool::{HeldJobs, JobPool};
use crate::base::peer::Peer;
use crate::http::body::{Body, Failure};
use crate::http::exchange::{Decision, Exchange, Reply};
use crate::http::media_type::TEXT_UTF8;
use crate::http::message::Announced;
use crate::service::gather::gather;
use crate::service::lab::harness::{Played, Request, World};

/// `htpasswd -nbB -C 4 alice 'open sesame'`
const USERS: &[u8] = b"alice:$2y$04$VCtijXKuUqZrMsfEZnjpQOZ8s8KIYxJc4bULqRqbjJkCOhWpY1ulW";
const RIGHT: &[u8] = b"Basic YWxpY2U6b3BlbiBzZXNhbWU=";
const WRONG: &[u8] = b"Basic YWxpY2U6b3BlbiBzZXNhbWE=";
const NOBODY: &[u8] = b"Basic bWFsbG9yeTpvcGVuIHNlc2FtZQ==";
const TOKEN: &str = "mF_9.B5f-4.1JqM0123";

fn with_users() -> Rules {
    Rules { users: Some(Arc::new(Users::parse(USERS).unwrap())), ..Rules::default() }
}

fn with_tokens(rules: Rules) -> Rules {
    Rules { tokens: Some(Arc::new(Tokens::parse(format!("{TOKEN} ci").as_bytes()).unwrap())), ..rules }
}

fn scoped<T>(rule: T) -> Option<Scoped<T>> {
    Some(Scoped { scope: "a.example /".into(), rule })
}

fn open(desk: &mut Desk, rules: &Rules, world: &World) -> Access {
    desk.open(rules, &Rc::default(), world.now)
}

fn with(authorization: &[u8]) -> Request {
    Request::get("/").field("Authorization", authorization)
}

/// A request of this client on this connection, with jobs in this pool.
struct Sender<'a> {
    world: &'a World,
    jobs: &'a JobPool,
    peer: SocketAddr,
    connection: u64,
}

impl Sender<'_> {
    fn cx(&self) -> Cx<'_> {
        let mut cx = self.world.cx();
        (cx.jobs, cx.peer, cx.connection) = (self.jobs, Peer::Ip(self.peer), self.connection);
        cx
    }
}

fn held(jobs: &HeldJobs) -> usize {
    std::iter::from_fn(|| jobs.take()).map(|job| job.run()).count()
}

/// What the service behind makes of the request's content, and what comes of the whole.
fn answer(access: &Access, request: &Request, world: &mut World, pieces: &[&[u8]]) -> Result<Played, Failure> {
    let call = |head: &RequestHead<'_>| {
        let text = |content: &[u8], _: &mut Cx<'_>| {
            Ok(Response::new(Status::OK).with_content(TEXT_UTF8, Body::from([b"got ", content].concat())))
        };
        gather(head, 100, text)
    };
    let reply = match access.admit(&request.head(), &world.cx()) {
        Admission::Passed => call(&request.head()),
        Admission::Refused(response, _) => Reply::Respond(response),
        Admission::Checking(check) => {
            Reply::Decide(check.then(&request.head(), &world.cx(), move |head, _| Ok(call(head))))
        }
    };
    world.finish(reply, pieces, &[1000])
}

#[test]
fn a_right_password_passes_and_content_is_taken_behind_the_check() {
    let (mut desk, mut world) = (Desk::default(), World::new());
    let access = open(&mut desk, &with_users(), &world);
    for (announced, pieces, got) in [
        (Announced::Nothing, &[][..], "got "),
        (Announced::Unknown, &[][..], "got "),
        (Announced::Length(6), &[&b"abc"[..], b"def"][..], "got abcdef"),
    ] {
        let request = Request::post("/", announced).field("Authorization", RIGHT);
        // A desk of its own: otherwise the outcome is known.
        let access = open(&mut Desk::default(), &with_users(), &world);
        let played = answer(&access, &request, &mut world, pieces).unwrap();
        assert_eq!((played.status, played.text()), (200, got));
    }
    for (authorization, rule) in [(WRONG, Rule::Password), (NOBODY, Rule::Password)] {
        let before = desk.refusals().counts()[rule as usize];
        let request = Request::post("/", Announced::Length(3)).field("Authorization", authorization);
        let played = answer(&access, &request, &mut world, &[b"abc"]).unwrap();
        assert_eq!((played.status, played.taken), (401, 0));
        assert_eq!(played.field("WWW-Authenticate"), Some(r#"Basic realm="restricted", charset="UTF-8""#));
        assert_eq!(desk.refusals().counts()[rule as usize], before + 1);
    }
    let played = answer(&access, &Request::get("/"), &mut world, &[]).unwrap();
    assert_eq!((played.status, desk.refusals().counts()[Rule::Credentials as usize]), (401, 1));
}

#[test]
fn a_token_is_as_good_as_a_password_where_both_are_asked_for() {
    let (mut desk, mut world) = (Desk::default(), World::new());
    let rules = Rules { realm: r#"a "b""#.parse().unwrap(), ..with_tokens(with_users()) };
    let access = open(&mut desk, &rules, &world);
    let mut status = |authorization: &[u8]| answer(&access, &with(authorization), &mut world, &[]).unwrap().status;
    let right = format!("Bearer {TOKEN}");
    assert_eq!((status(right.as_bytes()), status(RIGHT), status(b"Bearer x"), status(b"Bearer")), (200, 200, 401, 401));
    let fields = |authorization: &[u8]| answer(&access, &with(authorization), &mut World::new(), &[]).unwrap().fields();
    let basic = r#"WWW-Authenticate: Basic realm="a \"b\"", charset="UTF-8""#;
    let bearer = r#"WWW-Authenticate: Bearer realm="a \"b\"""#;
    assert!(fields(b"Bearer x").ends_with(&format!("{basic}\n{bearer}, error=\"invalid_token\"")));
    assert!(fields(b"Digest x").ends_with(&format!("{basic}\n{bearer}")), "no error without a token (RFC 6750 3.1)");
    let tokens = open(&mut desk, &with_tokens(Rules::default()), &world);
    let played = answer(&tokens, &with(RIGHT), &mut world, &[]).unwrap();
    assert_eq!((played.status, played.field("WWW-Authenticate")), (401, Some(r#"Bearer realm="restricted""#)));
}

#[test]
fn a_password_is_checked_once_for_all_who_send_it_and_then_known_for_a_while() {
    let (mut desk, mut world) = (Desk::default(), World::new());
    let (pool, jobs) = JobPool::held();
    let peer = "192.0.2.1:5".parse().unwrap();
    let access = open(&mut desk, &with_users(), &world);
    let admit = |world: &World, authorization: &[u8]| {
        let sender = Sender { world, jobs: &pool, peer, connection: 1 };
        access.admit(&with(authorization).head(), &sender.cx())
    };
    for (authorization, lasts, is_right) in [(RIGHT, checker::RIGHT_FOR, true), (WRONG, checker::WRONG_FOR, false)] {
        let exchanges: Vec<Box<dyn Exchange>> = (0..3)
            .map(|_| match admit(&world, authorization) {
                Admission::Checking(check) => check.then(&with(authorization).head(), &world.cx(), |_, _| {
                    Ok(Reply::Respond(Response::new(Status::NO_CONTENT)))
                }),
                _ => panic!("nothing is known"),
            })
            .collect();
        let waiting = exchanges.into_iter().map(|exchange| match exchange.respond(&mut world.cx()).unwrap() {
            Decision::Pending(exchange, _) => exchange,
            _ => panic!("the job has not run"),
        });
        let waiting: Vec<_> = waiting.collect();
        assert_eq!(held(&jobs), 1, "one job for all");
        for exchange in waiting {
            let Decision::Respond(response) = exchange.respond(&mut world.cx()).unwrap() else { panic!("it is done") };
            assert_eq!(response.status.code(), if is_right { 204 } else { 401 });
        }
        let is_known = |admission| match admission {
            Admission::Passed => is_right,
            Admission::Refused(_, rule) => rule == Rule::Password && !is_right,
            Admission::Checking(_) => false,
        };
        world.now += lasts - Duration::from_millis(1);
        assert!(is_known(admit(&world, authorization)));
        world.now += Duration::from_millis(1);
        assert!(matches!(admit(&world, authorization), Admission::Checking(_)), "it is checked again");
        held(&jobs);
    }
}

#[test]
fn a_flood_of_wrong_passwords_fills_the_places_of_its_client_alone() {
    let (mut desk, world) = (Desk::default(), World::new());
    let (pool, jobs) = JobPool::held();
    let access = open(&mut desk, &with_users(), &world);
    let guess = |peer: &str, n: u32| {
        use base64::Engine;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("alice:{n}"));
        let sender = Sender { world: &world, jobs: &pool, peer: peer.parse().unwrap(), connection: 1 };
        access.admit(&with(format!("Basic {pair}").as_bytes()).head(), &sender.cx())
    };
    let waiting: Vec<Admission> = (0..16).map(|n| guess("[2001:db8::1]:1", n)).collect();
    assert!(waiting.iter().all(|admission| matches!(admission, Admission::Checking(_))));
    let Admission::Refused(response, Rule::Checks) = guess("[2001:db8::2]:1", 99) else { panic!("the same /64") };
    assert_eq!(response.status, Status::SERVICE_UNAVAILABLE);
    assert!(matches!(guess("[2001:db8::3]:1", 3), Admission::Checking(_)), "it joins a check that is under way");
    assert!(matches!(guess("192.0.2.9:1", 99), Admission::Checking(_)), "another client has places");
    held(&jobs);
    assert!(matches!(guess("[2001:db8::2]:1", 100), Admission::Checking(_)), "they are free again");
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again() {
    let (mut desk, mut world) = (Desk::default(), World::new());
    let rules = Rules { rate: scoped("1/m burst=2".parse().unwrap()), ..Rules::default() };
    let access = open(&mut desk, &rules, &world);
    let mut get = || answer(&access, &Request::get("/"), &mut world, &[]).unwrap();
    assert_eq!([get().status, get().status], [200, 200]);
    let refused = get();
    assert_eq!((refused.status, refused.field("Retry-After")), (429, Some("60")));
    assert_eq!(refused.field("RateLimit-Policy"), Some(r#""client";q=1;w=60"#));
    assert_eq!(refused.field("RateLimit"), Some(r#""client";r=0;t=60"#));
    // Read anew, the same limit at the same place gives no new burst, and that of another place does.
    let again = open(&mut desk, &rules, &world);
    assert_eq!(answer(&again, &Request::get("/"), &mut world, &[]).unwrap().status, 429);
    let other = Rules { rate: rules.rate.map(|rate| Scoped { scope: "b".into(), ..rate }), ..Rules::default() };
    let other = open(&mut desk, &other, &world);
    assert_eq!(answer(&other, &Request::get("/"), &mut world, &[]).unwrap().status, 200);
}

#[test]
fn connections_and_addresses_come_before_credentials() {
    let (mut desk, world) = (Desk::default(), World::new());
    let addresses = AddressRules::new(Some(&["192.0.2.0/24"]), &[]).unwrap();
    let rules =
        Rules { addresses: Some(Arc::new(addresses)), connections_max: scoped(1), ..with_tokens(Rules::default()) };
    let access = open(&mut desk, &rules, &world);
    let (pool, _) = JobPool::held();
    let admit = |peer: &str, connection, authorization: &str| {
        let sender = Sender { world: &world, jobs: &pool, peer: peer.parse().unwrap(), connection };
        let admission = access.admit(&with(authorization.as_bytes()).head(), &sender.cx());
        (admission, world.held.take())
    };
    let right = format!("Bearer {TOKEN}");
    let (first, held) = admit("192.0.2.1:1", 1, &right);
    assert!(matches!(first, Admission::Passed) && held.is_some());
    let (stream, other) = admit("192.0.2.1:1", 1, &right);
    assert!(matches!(stream, Admission::Passed), "another stream of it");
    let (Admission::Refused(response, Rule::Connections), None) = admit("192.0.2.1:2", 2, "x") else {
        panic!("one too many")
    };
    assert_eq!(response.status, Status::SERVICE_UNAVAILABLE);
    let (Admission::Refused(response, Rule::Address), None) = admit("192.0.3.1:2", 3, &right) else {
        panic!("in no range")
    };
    assert_eq!(response.status, Status::FORBIDDEN);
    drop((held, other));
    assert!(matches!(admit("192.0.2.1:2", 2, "x"), (Admission::Refused(_, Rule::Credentials), None)));
    assert!(matches!(admit("192.0.2.1:3", 3, &right), (Admission::Passed, Some(_))), "who was refused does not count");
}

#[test]
fn nothing_asked_is_nothing_refused() {
    let (mut desk, world) = (Desk::default(), World::new());
    let access = open(&mut desk, &Rules::default(), &world);
    assert!(matches!(access.admit(&Request::get("/").head(), &world.cx()), Admission::Passed));
    assert!(world.held.take().is_none());
}

#[test]
fn it_explains_what_it_does() {
    let (mut desk, world) = (Desk::default(), World::new());
    let rules = Rules {
        addresses: Some(Arc::new(AddressRules::new(None, &["10.0.0.0/8"]).unwrap())),
        rate: scoped("1/m".parse().unwrap()),
        connections_max: scoped(5),
        ..with_tokens(with_users())
    };
    let access = open(&mut desk, &rules, &world);
    let told = |authorization: &[u8]| {
        let mut explanation = Explanation::default();
        let answered = access.explain(&with(authorization).head(), &world.cx(), &mut explanation);
        (answered, explanation.steps.pop().unwrap().text, explanation.steps.len())
    };
    let token = format!("Bearer {TOKEN}");
    for (authorization, answered, text) in [
        (RIGHT, true, "basic-auth: the user and the password are right"),
        (WRONG, false, "basic-auth: the user or the password is wrong: 401"),
        (token.as_bytes(), true, "bearer-tokens: the token of \"ci\""),
        (b"Bearer x", false, "bearer-tokens: the token is not known: 401"),
        (b"x", false, "the scheme of Authorization is neither Basic nor Bearer: 401"),
    ] {
        assert_eq!(told(authorization), (answered, text.to_owned(), 3));
    }
    assert_eq!(desk.refusals().counts(), [0; Rule::COUNT], "nothing was counted");
}
