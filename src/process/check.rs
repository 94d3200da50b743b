//! `tidemill check`: says what is wrong with the settings, or which are in force, without opening a socket.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Command, CommandFactory};

use super::descriptors;
use super::plan;
use super::settings::Settings;
use super::usage::{self, Refusal};

/// The word that asks for it.
pub const NAME: &str = "check";

/// The command of this module.
pub fn command() -> Command {
    let about = "Say what is wrong with the settings, or which are in force, without opening a socket";
    Settings::command()
        .about(about)
        .override_usage("tidemill check [OPTIONS] [ROOT]")
        .after_help("ROOT, flags, environment variables and the configuration file are the server's own.")
}

/// Reads the settings as the server would. `arguments` begins with the command's name.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let program = [OsString::from("tidemill")];
    let arguments: Vec<OsString> = program.iter().chain(&arguments[1..]).cloned().collect();
    let mut in_force = String::new();
    let settings = usage::read(&arguments, |settings: &mut Settings, given| {
        settings.check(given)?;
        in_force = given.in_force();
        settings.sites.iter().for_each(|site| in_force.push_str(&site.in_force()));
        Ok(())
    });
    let settings = match settings {
        Ok(settings) => settings,
        Err(refusal) => return refusal.report(),
    };
    // What files say that it names.
    let shares = settings.shares(descriptors::raise_limit());
    if let Err(problem) = plan::read(&settings, &shares, &[]) {
        return Refusal::File(vec![problem]).report();
    }
    settings.notices.iter().for_each(|notice| super::complain(notice));
    Refusal::Answer(in_force).report()
}
