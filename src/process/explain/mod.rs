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

use crate::base::moment::Moment;
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
    let makings = Makings {
        settings: &order.settings,
        limits: &limits,
        hub: &hub,
        now: Moment::default(),
        instant: Instant::now(),
        listeners: &[],
        admin: &admin,
    };
    let mut plan = makings.plan(plan::read(&order.settings, &shares, &[])?, &mut Kept::default());
    plan.https_redirect = super::tls::redirect_as_told(&order.settings);
    let mut rehearsals = Rehearsals::new(Front::new(plan), limits);
    rehearsals.tell(order.settings.telling.telling());
    let understood = rehearsals.understand(asked);
    let mut before = Explanation::default();
    if let (Some(config), Some(Ok(request))) = (tls::config(&order.settings), &understood) {
        tls::note(&config, &request.as_head(), &mut before);
    }
    let first = rehearsals.rehearse(asked);
    let needs_jobs = rehearsals.watched().needs_jobs();
    let again = needs_jobs.then(|| rehearsals.rehearse(asked));
    let watched = rehearsals.watched();
    Ok(report::text(asked, &understood, &before, &watched, &first, again.as_ref()))
}
