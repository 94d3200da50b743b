//! A service that does what the test has put on its list, or what the path says.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::script::Clock;
use crate::base::disk::{Found, Links, OpenFile, Root};
use crate::base::ring::Room;
use crate::base::wake::{LocalWaker, WakeKey};
use crate::http::body::{Body, Bytes, ContentPart, Failure, FilePart, Pull, Wait};
use crate::http::exchange::{Cx, Decision, Exchange, Reply, Source, Taker, Tunnel};
use crate::http::fields::{FieldName, FieldSet, FieldValue, Fields};
use crate::http::message::{Origin, RequestHead, Response};
use crate::http::status::Status;
use crate::service::Service;

/// The trailer that a source may have.
const SUM: FieldName = FieldName::from_static("Sum");

/// What an exchange or a source does when it is asked. The last one on the list is done for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It waits so many milliseconds, for the clock.
    Until(u64),
    /// It waits so many milliseconds, for a job.
    Job(u64),
    /// It waits so many milliseconds, for something that need not come.
    Idle(u64),
    /// It waits for content.
    Content,
    /// It sends an interim response.
    Interim,
    /// It responds with so many bytes.
    Respond(usize),
    /// It gives so many bytes of content, or as many as there is room for.
    Put(usize),
    /// That was all its content.
    End,
    /// That was all its content, and a trailer follows.
    EndInTrailer,
    /// It fails.
    Fail,
}

/// What is being done, and the wait that it is.
type Doing = (Act, Option<Wait>);

impl Act {
    fn wait(self, now: Instant) -> Option<Wait> {
        let after = |ms| now + Duration::from_millis(ms);
        match self {
            Act::Until(ms) => Some(Wait::Until(after(ms))),
            Act::Job(ms) => Some(Wait::Job(after(ms))),
            Act::Idle(ms) => Some(Wait::Idle(after(ms))),
            Act::Content => Some(Wait::Content),
            _ => None,
        }
    }
}

/// `/bytes/N`: so many bytes; `/file/N`: so many from a file; `/between/A/N/B`: bytes, then some from a file, then bytes
/// again. `/server-name`: the one that the client has sent. `/unknown/N`: so many bytes of a file, of which the system cannot tell whether they are in memory. `/short/N/M`:
/// so many bytes are announced of a file that has less. `/slow/MS` takes so many milliseconds of the clock. `/refuse`: 413.
/// `/acts` is an exchange that does what is on the list, `/takes` is one that takes content as well; `/pull` and `/duplex`
/// are sources like them, and `/upgrade` is a tunnel. Everything else is answered at once with 200.
#[derive(Clone)]
pub struct Menu {
    clock: Clock,
    list: Rc<RefCell<VecDeque<Act>>>,
    /// What was done last, and the wait that it was.
    doing: Rc<RefCell<Option<Doing>>>,
    /// What was called, in order.
    pub called: Rc<RefCell<Vec<String>>>,
    /// The key of each call.
    pub keys: Rc<RefCell<Vec<WakeKey>>>,
    /// How often an exchange or a source was asked.
    pub asked: Rc<RefCell<u32>>,
    pub taken: Rc<RefCell<String>>,
    /// As many bytes as are taken at a time.
    pub appetite: Rc<RefCell<usize>>,
    /// Wakes who acts.
    pub waker: Rc<RefCell<Option<LocalWaker>>>,
    /// Who is woken by `/wake`.
    pub wakes: Rc<RefCell<Option<LocalWaker>>>,
}

impl Menu {
    pub fn new(clock: Clock) -> Menu {
        Menu {
            clock,
            list: Rc::default(),
            doing: Rc::default(),
            called: Rc::default(),
            keys: Rc::default(),
            asked: Rc::default(),
            taken: Rc::default(),
            appetite: Rc::new(RefCell::new(usize::MAX)),
            waker: Rc::default(),
            wakes: Rc::default(),
        }
    }

    pub fn plan(&self, acts: &[Act]) {
        *self.list.borrow_mut() = acts.iter().copied().collect();
        *self.doing.borrow_mut() = None;
        *self.asked.borrow_mut() = 0;
    }

    /// What is to be done now, and the wait that it is. An exchange may be asked before its wait is over.
    fn act(&self, now: Instant) -> (Act, Option<Wait>) {
        *self.asked.borrow_mut() += 1;
        let (mut list, mut doing) = (self.list.borrow_mut(), self.doing.borrow_mut());
        if let Some((_, Some(wait))) = *doing
            && (wait.until().map_or(!self.taken.borrow().ends_with('.'), |at| now < at) || list.is_empty())
        {
            return doing.expect("it was just looked at");
        }
        // There is nothing to wait for where all the content came at once.
        if list.len() > 1 && list.front() == Some(&Act::Content) && self.taken.borrow().ends_with('.') {
            list.pop_front();
        }
        let act = list.pop_front().or(doing.map(|(act, _)| act)).expect("something is planned");
        *doing = Some((act, act.wait(now)));
        (act, act.wait(now))
    }

    fn actor(&self, takes: bool) -> Box<Actor> {
        Box::new(Actor { menu: self.clone(), takes })
    }
}

fn bytes(n: &str) -> ContentPart {
    ContentPart::Bytes(Bytes::Owned(vec![b'b'; n.parse().unwrap()]))
}

/// So many bytes of a file: each is an `f`.
fn file(n: &str) -> FilePart {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let length = n.parse().unwrap();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let (folder, name) = (std::env::temp_dir(), format!("tidemill-{}-menu-{number}", std::process::id()));
    std::fs::write(folder.join(&name), vec![b'f'; length]).unwrap();
    let file = open(&folder, &name);
    std::fs::remove_file(folder.join(&name)).unwrap();
    FilePart { file, offset: 0, length: length as u64 }
}

/// Linux cannot tell what is in memory of a file that it makes up itself. Other systems cannot tell it of any file.
fn unknown(n: &str) -> FilePart {
    match cfg!(target_os = "linux") {
        true => FilePart { file: open(Path::new("/proc"), "version"), offset: 0, length: n.parse().unwrap() },
        false => file(n),
    }
}

fn open(folder: &Path, name: &str) -> Arc<OpenFile> {
    let found = Root::open(folder, Links::Beneath).unwrap().find(name.as_bytes());
    let Ok(Found::File(file)) = found else { panic!("{name} is no file") };
    Arc::new(file)
}

fn ok(body: Body) -> Reply {
    Reply::Respond(Response { body, ..Response::new(Status::OK) })
}

impl Service for Menu {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        let path = std::str::from_utf8(request.target.path).unwrap();
        self.called.borrow_mut().push(path.to_owned());
        self.keys.borrow_mut().push(cx.key);
        *self.waker.borrow_mut() = Some(cx.local_waker());
        let words: Vec<&str> = path.split('/').skip(1).collect();
        Ok(match words[..] {
            ["bytes", n] => ok(vec![b'b'; n.parse().unwrap()].into()),
            ["file", n] => ok(Body::File(file(n))),
            ["unknown", n] => ok(Body::File(unknown(n))),
            ["short", n, there] => ok(Body::File(FilePart { length: n.parse().unwrap(), ..file(there) })),
            ["between", before, n, behind] => {
                ok(Body::Parts([bytes(before), ContentPart::File(file(n)), bytes(behind)].into()))
            }
            ["slow", ms] => {
                self.clock.pass(Duration::from_millis(ms.parse().unwrap()));
                ok(Body::Empty)
            }
            ["wake"] => {
                self.wakes.borrow().iter().for_each(LocalWaker::wake);
                ok(Body::Empty)
            }
            ["server-name"] => ok(cx.server_name.unwrap_or("none").to_owned().into()),
            ["refuse"] => Reply::Respond(Response::new(Status::CONTENT_TOO_LARGE)),
            ["acts"] => Reply::Decide(self.actor(false)),
            ["takes"] => Reply::Decide(self.actor(true)),
            ["pull"] => ok(Body::Source(self.actor(false))),
            ["duplex"] => ok(Body::Source(self.actor(true))),
            ["upgrade"] => Reply::Upgrade(Tunnel {
                protocol: FieldValue::from_static("test"),
                prepared: FieldSet::EMPTY,
                fields: Vec::new(),
                origin: Origin::Here,
                content: self.actor(true),
            }),
            _ => ok(Body::Empty),
        })
    }
}

struct Actor {
    menu: Menu,
    takes: bool,
}

impl Exchange for Actor {
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        if self.takes { Some(self) } else { None }
    }

    fn respond(self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        let (act, wait) = self.menu.act(cx.now);
        Ok(match act {
            Act::Respond(n) => Decision::Respond(Response { body: vec![b'b'; n].into(), ..Response::new(Status::OK) }),
            Act::Interim => Decision::Interim(self, Status::EARLY_HINTS, FieldSet::EMPTY),
            Act::Fail => return Err(Failure::new("it was to fail")),
            _ => Decision::Pending(self, wait.unwrap()),
        })
    }
}

impl Taker for Actor {
    fn take(&mut self, content: &[u8], _: &mut Cx<'_>) -> Result<usize, Failure> {
        let mut appetite = self.menu.appetite.borrow_mut();
        let n = content.len().min(*appetite);
        *appetite -= n;
        self.menu.taken.borrow_mut().push_str(std::str::from_utf8(&content[..n]).unwrap());
        Ok(n)
    }

    fn end(&mut self, _: Fields<'_>, _: &mut Cx<'_>) -> Result<(), Failure> {
        self.menu.taken.borrow_mut().push('.');
        Ok(())
    }
}

impl Source for Actor {
    fn length(&self) -> Option<u64> {
        None
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        let (act, wait) = self.menu.act(cx.now);
        Ok(match act {
            Act::Put(n) => {
                room.put(&vec![b's'; n]);
                Pull::More
            }
            Act::End | Act::EndInTrailer => Pull::End,
            Act::Fail => return Err(Failure::new("it was to fail")),
            _ => Pull::Pending(wait.unwrap()),
        })
    }

    fn taker(&mut self) -> Option<&mut dyn Taker> {
        if self.takes { Some(self) } else { None }
    }

    fn trailers(&mut self) -> Option<FieldSet> {
        let has_one = self.menu.doing.borrow().is_some_and(|(act, _)| act == Act::EndInTrailer);
        has_one.then(|| FieldSet::new([(SUM, FieldValue::from_static("42"))]))
    }
}
