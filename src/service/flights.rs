//! Jobs that several connections wait for: a request for what a job is finding out already waits for the same job.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::base::job_name::JobKind;
use crate::base::job_pool::{JobDied, QueueFull, Ticket};
use crate::http::exchange::Cx;

/// Jobs on their way, by what they are to find out. A handle: clones share them.
#[derive(Debug)]
pub struct Flights<T>(Rc<RefCell<ByKey<T>>>);

type ByKey<T> = HashMap<Box<[u8]>, Weak<Flight<T>>>;

/// One connection's part in a job. When the last one goes, a job that has not started is cancelled.
#[derive(Debug)]
pub struct Joined<T> {
    flights: Flights<T>,
    key: Box<[u8]>,
    flight: Arc<Flight<T>>,
}

#[derive(Debug)]
struct Flight<T> {
    started: Instant,
    state: Mutex<State<T>>,
}

struct State<T> {
    ticket: Option<Ticket<()>>,
    result: Option<Result<T, JobDied>>,
}

impl<T> std::fmt::Debug for State<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "State({})", if self.result.is_some() { "done" } else { "on its way" })
    }
}

impl<T> Clone for Flights<T> {
    fn clone(&self) -> Flights<T> {
        Flights(Rc::clone(&self.0))
    }
}

impl<T> Default for Flights<T> {
    /// None on their way.
    fn default() -> Flights<T> {
        Flights(Rc::default())
    }
}

impl<T: Clone + Send + 'static> Flights<T> {
    /// Joins the job for `key`, or starts it. A job that is done already says nothing about now and is not joined.
    pub fn join(
        &self,
        key: &[u8],
        name: (JobKind, &[u8]),
        cx: &Cx<'_>,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Joined<T>, QueueFull> {
        self.join_within(Duration::MAX, key, name, cx, job)
    }

    /// The same, but a job that was started `age` ago or earlier is not joined: what it finds may be that old.
    pub fn join_within(
        &self,
        age: Duration,
        key: &[u8],
        name: (JobKind, &[u8]),
        cx: &Cx<'_>,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Joined<T>, QueueFull> {
        let is_young = |flight: &Arc<Flight<T>>| cx.now.saturating_duration_since(flight.started) < age;
        let under_way = self.0.borrow().get(key).and_then(Weak::upgrade);
        let flight = match under_way.filter(|flight| is_young(flight) && flight.board(cx)) {
            Some(flight) => flight,
            None => self.start(key, name, cx, job)?,
        };
        Ok(Joined { flights: self.clone(), key: key.into(), flight })
    }

    /// Joins the job for `key`, if there is one that is not done.
    pub fn joined(&self, key: &[u8], cx: &Cx<'_>) -> Option<Joined<T>> {
        let flight = self.0.borrow().get(key).and_then(Weak::upgrade).filter(|flight| flight.board(cx))?;
        Some(Joined { flights: self.clone(), key: key.into(), flight })
    }

    fn start(
        &self,
        key: &[u8],
        (kind, subject): (JobKind, &[u8]),
        cx: &Cx<'_>,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Arc<Flight<T>>, QueueFull> {
        let state = State { ticket: None, result: None };
        let flight = Arc::new(Flight { started: cx.now, state: Mutex::new(state) });
        let arriving = Arc::downgrade(&flight);
        let ticket = cx.submit(kind, subject, move || {
            let result = job();
            if let Some(flight) = arriving.upgrade() {
                flight.arrive(result);
            }
        })?;
        flight.lock().ticket = Some(ticket);
        self.0.borrow_mut().insert(key.into(), Arc::downgrade(&flight));
        Ok(flight)
    }
}

impl<T> Flight<T> {
    /// Joins in, if there is no result yet. Then the job has not woken anybody yet either: the result comes first.
    fn board(&self, cx: &Cx<'_>) -> bool {
        let state = self.lock();
        let ticket = state.ticket.as_ref().filter(|_| state.result.is_none());
        ticket.inspect(|ticket| ticket.also_wake(cx.waker())).is_some()
    }

    fn arrive(&self, result: T) {
        self.lock().result = Some(Ok(result));
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Joined<T> {
    /// When the job was started: what it finds is no younger than this, whenever one joined.
    pub fn started(&self) -> Instant {
        self.flight.started
    }

    /// The result, if it has arrived.
    pub fn result(&self) -> Option<Result<T, JobDied>> {
        let mut state = self.flight.lock();
        if state.result.is_none()
            && let Some(Err(died)) = state.ticket.as_mut().and_then(Ticket::take)
        {
            // Kept, since a ticket says it only once, and others may have joined.
            state.result = Some(Err(died));
        }
        state.result.clone()
    }
}

impl<T> Drop for Joined<T> {
    fn drop(&mut self) {
        // The job itself holds no strong reference: with us the last one goes, and the map must not keep its name.
        if Arc::strong_count(&self.flight) == 1 {
            let mut flights = self.flights.0.borrow_mut();
            if flights.get(&self.key).is_some_and(|flight| std::ptr::eq(flight.as_ptr(), Arc::as_ptr(&self.flight))) {
                flights.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::base::job_pool::{JobPool, JobPoolLimits};
    use crate::base::limits::Limits;
    use crate::base::listener_id::ListenerId;
    use crate::base::listener_role::ListenerRole;
    use crate::base::log_key::RequestKey;
    use crate::base::moment::Moment;
    use crate::base::peer::Peer;
    use crate::base::slots::Token;
    use crate::base::terms::Terms;
    use crate::base::throttle::Complaints;
    use crate::base::wake::{Interrupt, WakeKey, Wakes};

    const NAME: (JobKind, &[u8]) = (JobKind::LookUp, b"/path");

    struct Nobody;

    impl Interrupt for Nobody {
        fn wake(&self) {}
    }

    /// What a request finds.
    struct Scene {
        limits: Limits,
        wakes: Wakes,
        jobs: JobPool,
        complaints: Complaints,
        held: Cell<Option<Box<crate::base::held::Held>>>,
        file_looks: Cell<u64>,
        terms: Cell<Option<Rc<Terms>>>,
    }

    impl Scene {
        fn new(jobs: JobPool) -> Scene {
            let (limits, wakes, complaints) = (Limits::default(), Wakes::new(Nobody), Complaints::new(0));
            Scene {
                limits,
                wakes,
                jobs,
                complaints,
                held: Cell::default(),
                file_looks: Cell::new(0),
                terms: Cell::default(),
            }
        }

        fn at(&self, now: Instant) -> Cx<'_> {
            Cx {
                now,
                moment: Moment::default(),
                date_secs: 0,
                limits: &self.limits,
                wakes: &self.wakes,
                jobs: &self.jobs,
                complaints: &self.complaints,
                key: WakeKey { token: Token { index: 0, generation: 0 }, stream: 0 },
                connection: 1,
                request: RequestKey::Ordinal(1),
                peer: Peer::Unix,
                named: None,
                certificate: None,
                server_name: None,
                identifier: None,
                listener: ListenerId::new(0),
                role: ListenerRole::Http,
                held: &self.held,
                draining: false,
                file_looks: &self.file_looks,
                terms: &self.terms,
            }
        }
    }

    #[test]
    fn whoever_joins_late_does_not_make_the_result_younger() {
        // A result was dated by when a request joined, so one that joined a stalled look-up passed off what had been
        // seen before the stall as fresh for another second.
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let jobs = JobPool::new(
            JobPoolLimits { threads: 1, quick_max: 4, slow_max: 4, ..JobPoolLimits::default() },
            Instant::now,
        )
        .unwrap();
        let (scene, start) = (Scene::new(jobs), Instant::now());
        let at = |now| scene.at(now);
        let flights = Flights::default();
        let first = flights.join(b"path", NAME, &at(start), move || gate.recv().is_err()).unwrap();
        let later = at(start + Duration::from_secs(5));
        let late = flights.join(b"path", NAME, &later, || panic!("joined, not started anew")).unwrap();
        assert_eq!((first.started(), late.started()), (start, start));
        let just_young = at(start + Duration::from_millis(999));
        let second = Duration::from_secs(1);
        let joined = flights.join_within(second, b"path", NAME, &just_young, || panic!("it is young enough"));
        assert_eq!(joined.unwrap().started(), start);
        let too_late = at(start + second);
        let anew = flights.join_within(second, b"path", NAME, &too_late, || true).unwrap();
        assert_eq!(anew.started(), start + second);
        let joined = flights.join(b"path", NAME, &too_late, || panic!("there is a younger one")).unwrap();
        assert_eq!(joined.started(), start + second);
        drop(late);
        let joined = flights.join(b"path", NAME, &too_late, || panic!("the older one leaves it alone")).unwrap();
        assert_eq!(joined.started(), start + second);
        drop(open);
    }

    #[test]
    fn everybody_who_has_joined_hears_that_a_job_died() {
        // Only the first who asked heard it; the others waited until they looked again, a minute later.
        let scene = Scene::new(JobPool::without_threads());
        let cx = scene.at(Instant::now());
        let flights = Flights::default();
        let dies = || -> u8 { panic!("a job that panics, on purpose") };
        let joined = [(); 3].map(|()| flights.join(b"path", NAME, &cx, dies).unwrap());
        assert!(joined.iter().all(|joined| joined.result() == Some(Err(JobDied))));
        let anew = flights.join(b"path", NAME, &cx, || 1).unwrap();
        assert_eq!(anew.result(), Some(Ok(1)), "nobody joins what is known to have died");
    }

    #[test]
    fn a_job_that_is_done_says_nothing_about_now() {
        let scene = Scene::new(JobPool::without_threads());
        let cx = scene.at(Instant::now());
        let flights = Flights::default();
        let first = flights.join(b"path", NAME, &cx, || 1).unwrap();
        let second = flights.join(b"path", NAME, &cx, || 2).unwrap();
        assert_eq!((first.result().unwrap().unwrap(), second.result().unwrap().unwrap()), (1, 2));
    }
}
