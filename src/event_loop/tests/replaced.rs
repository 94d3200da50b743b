//! What the loop is told anew while it works, and orders to read the configuration again.

use std::rc::Rc;
use std::time::Duration;

use super::Nobody;
use super::menu::Act;
use super::stage::{Stage, get};
use crate::base::job_name::JobKind;
use crate::base::job_pool::{JobPool, JobPoolLimits};
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::base::wake::{WakeKey, Wakes};
use crate::connection::Telling;
use crate::http::fields::FieldName;
use crate::net::Signal;
use crate::observe::report::{ConfigStatus, ReloadOutcome, Samples};
use crate::observe::request_id::RequestIds;
use crate::service::status::inspection_queue::{Asked, InspectionQueue, Question};

const ID: FieldName = FieldName::from_static("Id");

fn ids(start: &str) -> Option<Telling> {
    Some(Telling { request_ids: Some(RequestIds::new(ID, start)), server_timing: None })
}

#[test]
fn a_shorter_timeout_holds_for_those_who_are_idle_already() {
    let mut stage = Stage::new(Limits::default());
    stage.menu.plan(&[Act::Until(1_000_000)]);
    let (idle, busy) = (stage.asking("/"), stage.asking("/acts"));
    stage.turn_after(20_000);
    let shorter = Limits { keep_alive_timeout: Duration::from_secs(30), ..Limits::default() };
    assert!(stage.event_loop.replace_limits(shorter).is_empty());
    stage.turn();
    assert!(!idle.is_closed());
    assert_eq!(stage.sleeps(), Some(10_000), "and for no longer than that");
    stage.turn_after(10_000);
    stage.turn_after(1_000);
    stage.turn_after(1_000);
    assert_eq!((idle.is_closed(), busy.is_closed()), (true, false));
}

#[test]
fn a_timeout_that_is_over_by_the_new_limits_has_come() {
    let mut stage = Stage::new(Limits::default());
    let idle = stage.asking("/");
    stage.turn_after(20_000);
    stage.event_loop.replace_limits(Limits { keep_alive_timeout: Duration::from_secs(5), ..Limits::default() });
    stage.turn();
    stage.turn_after(1_000);
    stage.turn_after(1_000);
    assert!(idle.is_closed());
}

#[test]
fn a_longer_timeout_holds_for_those_who_are_idle_already() {
    let mut stage = Stage::new(Limits::default());
    let idle = stage.asking("/");
    stage.turn_after(70_000);
    stage.event_loop.replace_limits(Limits { keep_alive_timeout: Duration::from_secs(100), ..Limits::default() });
    stage.turn_after(29_000);
    stage.turn();
    assert!(!idle.is_closed());
}

#[test]
fn limits_that_stay_are_named_and_nobody_is_driven_for_nothing() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.asking("/");
    stage.turn();
    let wanted = Limits { connections_max: 1, head_bytes_max: 1 << 20, ..Limits::default() };
    assert_eq!(stage.event_loop.replace_limits(wanted), ["--max-header-size", "--max-connections"]);
    let drives = stage.drives();
    stage.turn();
    assert_eq!(stage.drives(), drives);
    stage.event_loop.replace_limits(Limits { target_bytes_max: 10, ..Limits::default() });
    stage.ask(&client, "/longer-than-that");
    stage.turn();
    assert_eq!(client.statuses(), [200, 414]);
}

#[test]
fn a_request_that_began_without_an_identifier_is_answered_without() {
    let mut stage = Stage::new(Limits::default());
    stage.menu.plan(&[Act::Until(1000), Act::Respond(1)]);
    let client = stage.asking("/acts");
    stage.turn();
    stage.event_loop.tell(ids("first"));
    stage.turn_after(1000);
    stage.settle();
    let response = client.received();
    assert!(response.starts_with("HTTP/1.1 200 ") && !response.contains("\r\nId:"), "{response}");
    stage.send(&client, &get("/"));
    stage.turn();
    assert!(client.received().contains("\r\nId: first-c1-r2\r\n"));
    // It is the same run, whatever the new ones would begin with.
    stage.event_loop.tell(ids("second"));
    stage.send(&client, &get("/"));
    stage.turn();
    assert!(client.received().contains("\r\nId: first-c1-r3\r\n"));
    stage.event_loop.tell(None);
    stage.send(&client, &get("/"));
    stage.turn();
    assert!(!client.received().contains("\r\nId:"));
}

#[test]
fn threads_come_when_there_were_none_and_stay_when_there_are() {
    let mut stage = Stage::new(Limits::default());
    let new = || JobPool::new(JobPoolLimits::default(), std::time::Instant::now);
    let here = std::thread::current().id();
    let run = |stage: &mut Stage| {
        let mut job = stage.event_loop.run_job(JobKind::Configuration, b"x", || std::thread::current().id()).unwrap();
        loop {
            if let Some(ran) = job.take() {
                return ran.unwrap() != here;
            }
            std::thread::yield_now();
        }
    };
    assert!(!run(&mut stage));
    stage.event_loop.use_threads(new).unwrap();
    assert!(run(&mut stage));
    stage.event_loop.use_threads(|| panic!("there are some")).unwrap();
    assert!(run(&mut stage));
}

/// An order to reload that was left with the loop.
fn order(stage: &mut Stage) -> Question<ReloadOutcome> {
    let queue = Rc::new(InspectionQueue::default());
    stage.event_loop.answer_inspections(Rc::clone(&queue));
    let question = queue.ask(Wakes::new(Nobody).local_waker(WakeKey::NOBODY), Asked::Reload);
    stage.turn();
    question
}

#[test]
fn orders_to_reload_are_taken_once_and_answered_together() {
    let mut stage = Stage::with_roles(&[ListenerRole::Http, ListenerRole::Admin], Limits::default());
    stage.event_loop.accept_reloads();
    assert!(stage.event_loop.take_reload_request().is_none());
    stage.signal(Signal::Reload);
    stage.turn();
    let asked = [(); 2].map(|()| order(&mut stage));
    let request = stage.event_loop.take_reload_request().unwrap();
    assert!(stage.event_loop.take_reload_request().is_none());
    // Whoever asks while one is carried out may have changed the file since.
    let late = order(&mut stage);
    assert!(asked.iter().chain([&late]).all(|question| question.answer().is_none()));
    request.answer(&Ok("configuration 2".into()));
    assert!(asked.iter().all(|question| question.answer() == Some(Ok("configuration 2".into()))));
    assert_eq!(late.answer(), None);
    stage.event_loop.take_reload_request().unwrap().answer(&Err("line 3".into()));
    assert_eq!(late.answer(), Some(Err("line 3".into())));
}

#[test]
fn nobody_waits_for_a_reload_that_is_never_carried_out() {
    let mut stage = Stage::with_roles(&[ListenerRole::Http, ListenerRole::Admin], Limits::default());
    stage.signal(Signal::Reload);
    let refused = order(&mut stage).answer().unwrap().unwrap_err();
    assert!(refused.contains("no configuration file"), "{refused}");
    assert!(stage.event_loop.take_reload_request().is_none());
    stage.event_loop.accept_reloads();
    let waits = order(&mut stage);
    stage.menu.plan(&[Act::Until(1_000_000)]);
    let _busy = stage.asking("/acts");
    stage.signal(Signal::Terminate);
    stage.turn();
    assert_eq!([waits.answer(), order(&mut stage).answer()], [(); 2].map(|()| Some(Err("the server stops".into()))));
    assert!(stage.event_loop.take_reload_request().is_none());
}

#[test]
fn metrics_and_reports_tell_how_the_configuration_stands() {
    let mut stage = Stage::with_roles(&[ListenerRole::Http, ListenerRole::Admin], Limits::default());
    let values = |stage: &Stage| {
        let families = stage.event_loop.metrics().families.into_iter();
        let of_config = families.filter(|family| family.name.starts_with("tidemill_config_"));
        let samples = of_config.map(|family| match family.samples {
            Samples::Gauge(None, samples) => samples[0].1,
            _ => panic!("it is a gauge"),
        });
        samples.collect::<Vec<_>>()
    };
    assert!(values(&stage).is_empty());
    let at = |secs| std::time::UNIX_EPOCH + Duration::from_secs(secs);
    let failed = Some((at(9), "line 3".into()));
    stage.event_loop.set_config_status(ConfigStatus { generation: 7, succeeded_at: Some(at(8)), failed });
    assert_eq!(values(&stage), [7.0, 8.0, 9.0]);
}
