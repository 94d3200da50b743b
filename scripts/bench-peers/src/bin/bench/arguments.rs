//! The command line.

use crate::Failure;
use crate::server::Server;

pub const HELP: &str = include_str!("../../../help.txt");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    Plaintext,
    Browser,
    Pipelined,
    Connection,
    Files,
    Latency,
    Idle,
    Crowd,
    Start,
    Tls,
    H2,
    Ws,
    Proxy,
}

impl Workload {
    /// In the order in which they are measured. The last four are measured only if they are named.
    const ALL: [Self; 13] = [
        Self::Plaintext,
        Self::Browser,
        Self::Pipelined,
        Self::Connection,
        Self::Files,
        Self::Latency,
        Self::Idle,
        Self::Crowd,
        Self::Start,
        Self::Tls,
        Self::H2,
        Self::Ws,
        Self::Proxy,
    ];

    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// The servers that can do it.
    fn able(self) -> &'static [Server] {
        use Server::{Caddy, Floor, H2o, Haproxy, Hyper, Lighttpd, May, Nghttpd, Nginx, Node, Tidemill};
        match self {
            // may_minihttp does not look at Connection, and never closes.
            Self::Connection => &[Floor, Tidemill, Nginx, Lighttpd, H2o, Hyper, Node],
            Self::Files => &[Floor, Tidemill, Nginx, Lighttpd, H2o],
            Self::Latency | Self::Crowd => &[Floor, Tidemill, Nginx],
            Self::Tls => &[Tidemill, Nginx, H2o, Haproxy],
            // Each part of it leaves some out.
            Self::H2 => &[Floor, Tidemill, Nginx, H2o, Hyper, Haproxy, Nghttpd],
            // Its peers are no HTTP servers.
            Self::Ws => &[Tidemill],
            Self::Proxy => &[Tidemill, Nginx, Haproxy, Caddy],
            _ => &[Floor, Tidemill, Nginx, Lighttpd, H2o, Hyper, May, Node],
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    pub workloads: Vec<Workload>,
    pub rounds: usize,
    pub seconds: u64,
    /// In the order in which they are measured.
    pub servers: Vec<Server>,
}

impl Arguments {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut arguments = Self { workloads: Vec::new(), rounds: 5, seconds: 3, servers: Server::ALL.to_vec() };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--rounds" => arguments.rounds = count(&word, &value()?)? as usize,
                "--seconds" => arguments.seconds = count(&word, &value()?)?,
                "--servers" => arguments.servers = servers(&value()?)?,
                _ => arguments.workloads.push(workload(&word)?),
            }
        }
        if arguments.workloads.is_empty() {
            arguments.workloads = Workload::ALL[..Workload::ALL.len() - 4].to_vec();
        }
        Ok(arguments)
    }

    /// Those of the servers asked for that can do the workload.
    pub fn chosen(&self, workload: Workload) -> Vec<Server> {
        self.servers.iter().copied().filter(|server| workload.able().contains(server)).collect()
    }

    /// Those of the servers asked for that can do one of the workloads asked for.
    pub fn needed(&self) -> Vec<Server> {
        let is_needed = |server: &Server| self.workloads.iter().any(|workload| workload.able().contains(server));
        self.servers.iter().copied().filter(is_needed).collect()
    }
}

fn count(flag: &str, value: &str) -> Result<u64, Failure> {
    match value.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(format!("{flag}: a whole number from 1 on, not {value}").into()),
    }
}

fn workload(word: &str) -> Result<Workload, Failure> {
    let found = Workload::ALL.into_iter().find(|workload| workload.name() == word);
    found.ok_or_else(|| format!("unknown: {word}\n\n{HELP}").into())
}

fn servers(list: &str) -> Result<Vec<Server>, Failure> {
    list.split(',').map(|name| Server::named(name).ok_or_else(|| format!("no such server: {name}").into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(String::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn workloads_and_flags_come_in_any_order() {
        let expected = Arguments {
            workloads: vec![Workload::Idle, Workload::Ws],
            rounds: 2,
            seconds: 1,
            servers: vec![Server::Tidemill, Server::Floor],
        };
        assert_eq!(parse("idle --rounds 2 ws --servers tidemill,floor --seconds 1"), Ok(expected));
    }

    #[test]
    fn without_a_workload_all_but_tls_h2_ws_and_proxy_are_measured() {
        let workloads = parse("").map(|arguments| arguments.workloads);
        assert_eq!(workloads.as_deref(), Ok(&Workload::ALL[..9]));
    }

    #[test]
    fn only_servers_that_do_a_workload_are_needed() {
        let needed = |line| parse(line).map(|arguments| arguments.needed());
        assert_eq!(needed("latency ws"), Ok(vec![Server::Floor, Server::Tidemill, Server::Nginx]));
        assert_eq!(needed("files --servers node,nginx"), Ok(vec![Server::Nginx]));
        assert_eq!(needed("tls --servers floor,haproxy"), Ok(vec![Server::Haproxy]));
        assert_eq!(needed("h2 --servers may,nghttpd"), Ok(vec![Server::Nghttpd]));
        assert_eq!(needed("").map(|servers| servers.len()), Ok(Server::ALL.len() - 3));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = [
            ("--rounds", "--rounds needs a value"),
            ("--seconds 0", "--seconds: a whole number from 1 on, not 0"),
            ("--servers floor,apache", "no such server: apache"),
        ];
        for (line, error) in wrong {
            assert_eq!(parse(line), Err(error.to_string()));
        }
        assert!(parse("static").is_err_and(|error| error.starts_with("unknown: static\n")));
    }
}
