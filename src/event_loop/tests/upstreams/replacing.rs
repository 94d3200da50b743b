//! Routes that are replaced while the loop turns.

use std::rc::Weak;

use super::*;
use crate::base::job_pool::HeldJobs;
use crate::base::resolved::Resolved;
use crate::service::proxy::names::Resolve;
use crate::service::proxy::route::HealthCheck;
use crate::service::proxy::target::Target;

/// A route to the upstream of all scenes, that differs from others by its response timeout.
fn route_of(secs: u64) -> Route {
    let upstreams = vec![Upstream::new(false, "10.9.0.1", Some(3000))];
    Route { response_timeout: Duration::from_secs(secs), ..Route::new(None, String::new(), upstreams) }
}

/// A route to an upstream that has a name.
fn named(host: &str) -> Route {
    Route::new(None, String::new(), vec![Upstream::new(false, host, Some(3000))])
}

impl Scene {
    /// From now on these routes are in force.
    fn replace(&mut self, routes: impl IntoIterator<Item = Route>) -> Vec<Weak<Target>> {
        let routes: Routes = routes.into_iter().collect();
        let now = self.now();
        let targets = self.hub.replace(routes.iter(), now);
        let weak = targets.iter().map(Rc::downgrade).collect();
        self.event_loop.service().0 = Proxy::new(routes, targets, Rc::clone(&self.hub), TrustedProxies::default());
        self.settle();
        weak
    }

    fn now(&mut self) -> Moment {
        let reactor = self.reactor();
        Moment::new(crate::net::Reactor::origin(reactor), reactor.clock.now())
    }

    /// A scene whose routes have names: they are looked up when a job is run.
    fn with_names() -> (Scene, HeldJobs) {
        let hub = Rc::new(Hub::new(usize::MAX));
        let proxy = Proxy::new(Routes::default(), Vec::new(), Rc::clone(&hub), TrustedProxies::default());
        let (jobs, held) = JobPool::held();
        let (reactor, wakes) = (ScriptedReactor::new(&[ListenerRole::Http]), Wakes::new(Nobody));
        let mut event_loop = EventLoop::new(reactor, Passing(proxy), Limits::default(), wakes, jobs);
        let resolve: Resolve =
            Arc::new(|_| Ok(Resolved { addresses: vec!["10.9.0.1".parse().unwrap()], ttl: Duration::from_secs(30) }));
        event_loop.reach_upstreams(Rc::clone(&hub), None, resolve);
        (Scene { event_loop, hub }, held)
    }

    /// Runs the jobs that wait, and has the loop look at their results. Returns their names.
    fn run(&mut self, held: &HeldJobs) -> Vec<String> {
        let names = std::iter::from_fn(|| held.take()).map(|job| {
            let name = job.name().to_string();
            job.run();
            name
        });
        let names = names.collect();
        self.reactor().events.push(Event::Wake);
        self.settle();
        names
    }
}

#[test]
fn an_equal_route_keeps_its_connections_and_its_counts() {
    let mut scene = Scene::with(|route| *route = route_of(7));
    let (_client, upstream) = scene.with_idle_upstream(OK);
    let earlier = scene.hub.targets();
    scene.replace([route_of(7), route_of(8)]);
    assert!(Rc::ptr_eq(&earlier[0], &scene.hub.targets()[0]));
    assert_eq!((scene.idle(), scene.hub.targets().len(), scene.hub.retired()), (1, 2, 0));
    let client = scene.client(&get("/again"));
    assert!(upstream.received().starts_with("GET /again "), "over the same connection");
    scene.send(&upstream, OK);
    assert_eq!(client.statuses(), [200]);
    assert_eq!(scene.hub.statuses(Moment::default())[0].addresses[0].counters.requests, 2);
}

#[test]
fn equal_routes_share_a_target() {
    let mut scene = Scene::new();
    let targets = scene.replace([route_of(7), route_of(8), route_of(7)]);
    assert_eq!(scene.hub.targets().len(), 2);
    assert!(targets[0].ptr_eq(&targets[2]) && !targets[0].ptr_eq(&targets[1]));
}

#[test]
fn a_route_that_is_gone_serves_what_it_has_begun_and_keeps_no_connection() {
    let mut scene = Scene::with(|route| *route = route_of(7));
    let (_client, idle) = scene.with_idle_upstream(OK);
    let [first, second] = ["/first", "/second"].map(|path| scene.client(&get(path)));
    assert!(idle.received().starts_with("GET /first "));
    let busy = scene.upstream();
    scene.send(&idle, OK);
    assert_eq!((first.statuses(), scene.idle()), (vec![200], 1));
    let earlier = Rc::downgrade(&scene.hub.targets()[0]);
    scene.replace([route_of(8)]);
    assert!(idle.is_closed() && !busy.is_closed());
    assert_eq!((scene.idle(), scene.hub.retired()), (0, 1));
    scene.send(&busy, OK);
    assert_eq!(second.statuses(), [200]);
    assert!(busy.is_closed(), "nobody can use it any more");
    assert!(earlier.upgrade().is_none());
    assert_eq!((scene.hub.retired(), scene.hub.statuses(Moment::default()).len()), (0, 1));
    // What comes now has the new route.
    let third = scene.client(&get("/third"));
    let upstream = scene.upstream();
    scene.send(&upstream, OK);
    assert_eq!((third.statuses(), scene.idle()), (vec![200], 1));
}

#[test]
fn who_waits_in_the_queue_of_a_route_that_is_gone_is_served() {
    for limit in ["of the route", "of the hub"] {
        let max = if limit == "of the route" { usize::MAX } else { 1 };
        let mut scene = Scene::bounded(max, Limits::default(), |route| {
            *route = Route { connections_max: Some(1), ..route_of(7) };
        });
        let first = scene.client(&get("/first"));
        let upstream = scene.upstream();
        let second = scene.client(&get("/second"));
        assert_eq!(scene.hub.statuses(Moment::default())[0].waiting, 1);
        let earlier = Rc::downgrade(&scene.hub.targets()[0]);
        scene.replace([route_of(8)]);
        scene.send(&upstream, OK);
        assert_eq!(first.statuses(), [200], "{limit}");
        assert!(upstream.is_closed());
        let next = scene.upstream();
        assert!(next.received().starts_with("GET /second "));
        scene.send(&next, OK);
        assert_eq!(second.statuses(), [200], "{limit}");
        assert!(earlier.upgrade().is_none());
    }
}

/// Each time a request is under way that an earlier route has begun.
#[test]
fn a_thousand_replacements_leave_nothing_behind() {
    let mut scene = Scene::with(|route| *route = route_of(7));
    let client = scene.client(&get("/"));
    let mut upstream = scene.upstream();
    let mut gone = Vec::new();
    for round in 0..1000 {
        gone.extend(scene.replace([route_of(8 + round % 2), named("10.9.0.1"), route_of(100 + round)]));
        scene.send(&upstream, OK);
        assert_eq!(client.statuses(), [200]);
        scene.send(&client, &get("/"));
        upstream = scene.upstream();
        assert_eq!((scene.hub.retired(), scene.event_loop.connections()), (0, 2));
    }
    let alive = gone.iter().filter_map(Weak::upgrade).collect::<Vec<_>>();
    assert!(alive.iter().all(|target| !target.is_retired()), "only those in force");
}

#[test]
fn a_hub_without_a_route_may_get_one() {
    let mut scene = Scene::new();
    scene.replace([]);
    assert_eq!(scene.client(&get("/")).statuses(), [404]);
    scene.replace([route_of(7)]);
    let client = scene.client(&get("/"));
    let upstream = scene.upstream();
    scene.send(&upstream, OK);
    assert_eq!(client.statuses(), [200]);
}

#[test]
fn nobody_checks_a_route_that_is_gone() {
    let health = Some(HealthCheck { target: "/health".into(), interval: Duration::from_secs(5) });
    let mut scene = Scene::with(|route| route.health = health.clone());
    scene.pass(5_000);
    let check = scene.upstream();
    assert!(check.received().starts_with("GET /health "));
    let earlier = Rc::downgrade(&scene.hub.targets()[0]);
    scene.replace([route_of(8)]);
    assert!(check.is_closed(), "a check that runs is given up");
    scene.pass(20_000);
    assert!(!scene.begins_another());
    assert!(earlier.upgrade().is_none());
    // And the other way round.
    scene.replace([Route { health, ..route_of(9) }]);
    scene.pass(5_000);
    assert!(scene.upstream().received().starts_with("GET /health "));
}

#[test]
fn a_name_is_looked_up_once_whichever_routes_have_it() {
    let (mut scene, held) = Scene::with_names();
    scene.replace([named("web")]);
    assert_eq!(scene.run(&held), ["resolve web"]);
    let other = Route { response_timeout: Duration::from_secs(9), ..named("web") };
    scene.replace([other, named("db")]);
    assert_eq!(scene.run(&held), ["resolve db"], "the addresses of web are known");
    assert!(scene.hub.statuses(Moment::default()).iter().all(|group| group.addresses.len() == 1));
    scene.replace([named("db")]);
    scene.pass(31_000);
    assert_eq!(scene.run(&held), ["resolve db"], "nobody needs web any more");
}

#[test]
fn a_request_that_waits_for_a_name_gets_its_addresses_although_the_route_is_gone() {
    let (mut scene, held) = Scene::with_names();
    scene.replace([named("web")]);
    let client = scene.client(&get("/"));
    scene.replace([named("db")]);
    assert_eq!((client.received().as_str(), scene.hub.retired()), ("", 1));
    assert_eq!(scene.run(&held), ["resolve web", "resolve db"]);
    let upstream = scene.upstream();
    assert!(upstream.received().contains("\r\nHost: "));
    scene.send(&upstream, OK);
    assert_eq!((client.statuses(), scene.hub.retired()), (vec![200], 0));
    scene.pass(31_000);
    assert_eq!(scene.run(&held), ["resolve db"]);
}
