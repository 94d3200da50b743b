//! `tidemill reload`: a running server reads its configuration again. Its admin listener is asked for `POST /reload`.

use std::ffi::OsString;
use std::io::{self, Read};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Command, CommandFactory, Parser};

use super::ask::link::Link;
use super::ask::reason;
use super::usage::{self, Refusal};
use super::{EXIT_FAILURE, complain};
use crate::net::listener::Address;

/// The word that asks for it.
pub const NAME: &str = "reload";

/// How long the server may take: it reads all files that the configuration names.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Has a running server read its configuration again.
#[derive(Debug, Parser)]
#[command(
    name = "tidemill reload",
    about = "Have a running server read its configuration file again, and say what came of it",
    after_help = "HUP has the same done. A configuration that is wrong changes nothing: the exit code is 1 then."
)]
struct Order {
    /// Address of the server's admin listener
    #[arg(long, value_name = "ADDR", env = "TIDEMILL_ADMIN", hide_env = true, default_value = "127.0.0.1:9901")]
    admin: Address,
}

/// Does what the `arguments` say, the first of them being [`NAME`].
pub fn run(arguments: &[OsString]) -> ExitCode {
    let program = [OsString::from("tidemill reload")];
    let arguments: Vec<OsString> = program.iter().chain(arguments.iter().skip(1)).cloned().collect();
    let order = match usage::read(&arguments, |_: &mut Order, _| Ok(())) {
        Ok(order) => order,
        Err(refusal) => return refusal.report(),
    };
    match reload(&order.admin) {
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

/// What is in force now. The error is one line for the user, or more if the server has more to say.
fn reload(admin: &Address) -> Result<String, String> {
    let answer = answer(admin).map_err(|error| format!("cannot ask {admin}: {}", reason(&error, PATIENCE)))?;
    let (head, content) = answer.split_once("\r\n\r\n").unwrap_or_default();
    match head.split(' ').nth(1) {
        Some("200") => Ok(format!("{}\n", content.trim_end())),
        Some("409") => Err(format!("nothing has changed: {}", content.trim_end())),
        _ => {
            Err(format!("cannot ask {admin}: what answers there is no admin listener that reads a configuration again"))
        }
    }
}

fn answer(admin: &Address) -> io::Result<String> {
    let request = "POST /reload HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    let mut answer = Vec::new();
    Link::sending(admin, request, PATIENCE)?.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
