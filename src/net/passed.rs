//! Listening sockets that another process has opened for us and passed on, as systemd does (sd_listen_fds(3)).

use std::env;
use std::io;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;

use super::listener::Listener;
use crate::base::listener_role::ListenerRole;

/// More descriptors than this are a mistake.
const DESCRIPTORS_MAX: usize = 256;
/// The number of the first one.
const FIRST: usize = 3;
/// The name that makes a socket the admin's.
const ADMIN: &str = "admin";

/// What was passed.
#[derive(Debug, Default)]
pub struct Passed {
    /// Sockets, each with the role that its name asks for.
    pub listeners: Vec<(Listener, ListenerRole)>,
    /// A line for everything that was passed and is not used.
    pub unused: Vec<String>,
}

/// Takes what was passed. The first call has it all, and must come before this process opens anything itself: a number
/// in the environment that is too large would name what we have opened.
pub fn take() -> Passed {
    let mut taken = Passed::default();
    let Some(count) = env::var_os("LISTEN_FDS").filter(|count| !count.is_empty()) else { return taken };
    let count = count.to_string_lossy();
    let Some(expected) = count.parse().ok().filter(|count| *count <= DESCRIPTORS_MAX) else {
        taken.unused.push(format!("LISTEN_FDS={} is no number from 0 to {DESCRIPTORS_MAX}", count.escape_debug()));
        return taken;
    };
    let for_whom = env::var("LISTEN_PID").unwrap_or_default();
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut descriptors = ListenFd::from_env();
    if descriptors.len() < expected {
        taken.unused.push(format!(
            "LISTEN_FDS={expected} is for process {} and not for this one, {}: nothing may stand between systemd \
             and the server, unless it ends in exec",
            for_whom.escape_debug(),
            std::process::id()
        ));
    }
    let mut names = names.split(':');
    for index in 0..descriptors.len() {
        let name = names.next().unwrap_or_default();
        match listener(&mut descriptors, index, name) {
            Ok(listener) => taken.listeners.push(listener),
            Err(why) => taken.unused.push(format!(
                "descriptor {}, {:?}, was passed and is not used: {why}",
                FIRST + index,
                name
            )),
        }
    }
    taken
}

/// The socket at this index, with its role.
fn listener(descriptors: &mut ListenFd, index: usize, name: &str) -> Result<(Listener, ListenerRole), &'static str> {
    let listener =
        owned(descriptors, index).and_then(Listener::adopt).map_err(|_| "it is no stream socket that listens")?;
    let role = role(name);
    match role == ListenerRole::Admin && !listener.local_address().is_local() {
        true => Err("the admin's address must be one of this machine alone"),
        false => Ok((listener, role)),
    }
}

fn owned(descriptors: &mut ListenFd, index: usize) -> io::Result<OwnedFd> {
    match descriptors.take_tcp_listener(index) {
        Ok(tcp) => tcp.map(OwnedFd::from),
        Err(_) => descriptors.take_unix_listener(index)?.map(OwnedFd::from),
    }
    .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// What a socket of this name is for. systemd names one after its unit, unless FileDescriptorName= says otherwise: such
/// names mean HTTP.
fn role(name: &str) -> ListenerRole {
    match name {
        ADMIN => ListenerRole::Admin,
        _ => ListenerRole::OF_LISTEN.into_iter().find(|role| role.scheme() == name).unwrap_or(ListenerRole::Http),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_say_what_a_socket_is_for() {
        let roles = ["admin", "http", "https", "tcp-echo", "line-echo", "tidemill.socket", "unknown", ""].map(role);
        let http = ListenerRole::Http;
        let others = [ListenerRole::Admin, http, ListenerRole::Https, ListenerRole::TcpEcho, ListenerRole::LineEcho];
        assert_eq!(roles[..5], others);
        assert_eq!(roles[5..], [http; 3]);
    }
}
