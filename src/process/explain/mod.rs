//! `tidemill explain`: how a request would be answered, and why, without opening a socket.
//!
//! Nothing is decided here. A connection as the server has it is driven over a simulated socket (`paper.rs`,
//! `rehearsal.rs`), its service is watched (`witness.rs`), and what they did is printed (`report.rs`).

mod frames;
mod order;
mod paper;
mod rehearsal;
mod report;
mod response;
mod tls;
mod witness;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use clap::{Command, CommandFactory};

use super::plan::{self, Kept, Makings};
use super::usage::Refusal;
use super::{EXIT_FAILURE, complain, descriptors};
use order::{Asked, Order};
use rehearsal::Rehearsals;

use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::connection::Entrance;
use crate::net::listener::ListenAddress;
use crate::observe::report::KernelReport;
use crate::service::explanation::Explanation;
use crate::service::front::Front;
use crate::service::proxy::hub::Hub;
use crate::service::status::{self, AskKernel};

/// The word that asks for it.
pub const NAME: &str = "explain";

/// Explains what the `arguments`, the first of them being [`NAME`], ask for.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let (order, asked) = match Order::read(arguments) {
        Ok(read) => read,
        Err(refusal) => return refusal.report(),
    };
    order.settings.notices.iter().for_each(|notice| complain(notice));
    match explain(&order, &asked) {
        Ok(text) => Refusal::Answer(text).report(),
        Err(failure) => {
            complain(&failure);
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// The command of this module.
pub fn command() -> Command {
    Order::command()
}

fn explain(order: &Order, asked: &Asked) -> Result<String, String> {
    let descriptors = descriptors::raise_limit();
    let limits = order.settings.limits(descriptors);
    let shares = order.settings.shares(descriptors);
    // Nobody makes the connections that its hub asks for.
    let hub = Rc::new(Hub::new(shares.upstreams));
    // The admin's pages are about a loop, which is not there.
    let ask_kernel: AskKernel = Arc::new(|_| KernelReport::default());
    let admin = status::service(&Rc::default(), &ask_kernel);
    let addresses = order.settings.addresses();
    let listeners: Vec<_> = (0..).map(ListenerId::new).zip(addresses).collect();
    let makings = Makings {
        settings: &order.settings,
        limits: &limits,
        hub: &hub,
        now: Moment::default(),
        instant: Instant::now(),
        listeners: &listeners,
        admin: &admin,
    };
    let mut plan = makings.plan(plan::read(&order.settings, &shares, &[])?, &mut Kept::default());
    plan.https_redirect = super::tls::redirect_as_told(&order.settings);
    let mut rehearsals = Rehearsals::new(Front::new(plan), limits);
    rehearsals.tell(order.settings.telling.telling());
    let understood = rehearsals.understand(asked);
    let mut before = Explanation::default();
    if let Some(Ok(request)) = &understood {
        let request = request.as_head();
        let role = if order.https.is_some() { ListenerRole::Https } else { ListenerRole::Http };
        let is_possible = |address: &ListenAddress| match &order.via {
            Some(via) => via == address,
            None => address.role == role,
        };
        let mut possible = listeners.iter().filter(|(_, address)| is_possible(address));
        let first = possible.clone().next();
        let found = possible.find(|(id, _)| rehearsals.front().plan.sites.have(&request, *id)).or(first);
        if let Some((_, address)) = found.filter(|_| order.settings.sites.iter().any(|site| !site.listen.is_empty())) {
            before.note("listener", address);
        }
        let said = order.https.clone().flatten();
        let name = said.or_else(|| tls::server_name_of(&request));
        if let Some(config) = tls::config(&order.settings) {
            tls::note(&config, name.as_deref(), &mut before);
        }
        let listener = found.map_or(ListenerId::NONE, |(id, _)| *id);
        let name = name.filter(|_| role == ListenerRole::Https).map(|name| name.to_ascii_lowercase());
        rehearsals.enter(Entrance { listener, role }, name);
    }
    let first = rehearsals.rehearse(asked);
    let needs_jobs = rehearsals.watched().needs_jobs();
    let again = needs_jobs.then(|| rehearsals.rehearse(asked));
    let watched = rehearsals.watched();
    Ok(report::text(asked, &understood, &before, &watched, &first, again.as_ref()))
}
