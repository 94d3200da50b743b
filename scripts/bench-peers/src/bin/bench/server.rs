//! The servers: where they are, how they are started, and that they answer what is asked of them.

use crate::client::{self, Answer, Stream};
use crate::configuration::{self, Settings};
use crate::process::Process;
use crate::{Bench, Failure};
use rustls::ClientConfig;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_bench::tls::{self, Identity, Signature};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Floor,
    Tidemill,
    Nginx,
    Lighttpd,
    H2o,
    Hyper,
    May,
    Node,
    Haproxy,
}

impl Server {
    pub const ALL: [Self; 9] = [
        Self::Floor,
        Self::Tidemill,
        Self::Nginx,
        Self::Lighttpd,
        Self::H2o,
        Self::Hyper,
        Self::May,
        Self::Node,
        Self::Haproxy,
    ];

    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|server| server.name() == name)
    }

    /// Its program's file name.
    fn program_name(self) -> String {
        match self {
            Self::Hyper => "http-hyper".into(),
            Self::May => "http-may".into(),
            _ => self.name(),
        }
    }

    /// The Debian package it is in; none if it was built here.
    pub fn package(self) -> Option<&'static str> {
        match self {
            Self::Nginx => Some("nginx-light"),
            Self::Lighttpd => Some("lighttpd"),
            Self::H2o => Some("h2o"),
            Self::Node => Some("nodejs"),
            Self::Haproxy => Some("haproxy"),
            Self::Floor | Self::Tidemill | Self::Hyper | Self::May => None,
        }
    }

    /// Its program; none if it is not there.
    pub fn program(self, bench: &Bench) -> Option<PathBuf> {
        match self.package() {
            Some(_) => find_program(&self.program_name()),
            None => Some(bench.programs.join(self.program_name())).filter(|path| path.exists()),
        }
    }
}

/// A program of the system, also where only root looks for it.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin"]).map(|folder| Path::new(folder).join(name)).find(|file| file.is_file())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    /// With the identity in the bench's folder.
    Https,
}

/// What servers have to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// TechEmpower's constant.
    Plaintext,
    /// The same, and the floor closes the connection after it. The others do so if they are asked to.
    Closing,
    /// A file of the site, from memory if the floor is to.
    File { name: &'static str, bytes: usize, is_from_memory: bool },
}

impl Purpose {
    pub fn path(self) -> &'static str {
        match self {
            Self::Plaintext | Self::Closing => "plaintext",
            Self::File { name, .. } => name,
        }
    }

    fn content(self) -> Vec<u8> {
        match self {
            Self::Plaintext | Self::Closing => b"Hello, World!".to_vec(),
            Self::File { bytes, .. } => (0..bytes).map(|place| (place * 31 % 251) as u8).collect(),
        }
    }
}

/// A server that runs. It ends when this is dropped.
pub struct Running {
    pub server: Server,
    pub address: SocketAddr,
    /// The process that serves.
    pub pid: u32,
    /// The size of an answer in bytes, head and content.
    pub answer_bytes: usize,
    /// For its clients, if it speaks TLS.
    tls: Option<Arc<ClientConfig>>,
    process: Process,
}

impl Running {
    /// Starts it and waits for its first answer, which has to be the right one.
    pub fn start(bench: &Bench, server: Server, purpose: Purpose, scheme: Scheme) -> Result<Self, Failure> {
        Self::start_anew(bench, server, purpose, scheme).map_err(|error| format!("{}: {error}", server.name()).into())
    }

    fn start_anew(bench: &Bench, server: Server, purpose: Purpose, scheme: Scheme) -> Result<Self, Failure> {
        let program = server.program(bench).ok_or("not there")?;
        let launch = Launch::prepare(bench, server, purpose, scheme)?;
        let mut process = Process::start(&mut launch.command(&program)?)?;
        let answer = launch.first_answer(&mut process)?;
        let expected = purpose.content();
        if !answer.is_ok() || answer.content != expected {
            return Err(format!("not the content asked for, but {}", answer.head).into());
        }
        let pid = match server {
            Server::Nginx => *process.children().first().ok_or("no worker")?,
            _ => process.id(),
        };
        let (address, answer_bytes) = (launch.address(), answer.size());
        Ok(Self { server, address, pid, answer_bytes, tls: launch.tls, process })
    }

    pub fn url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/{path}", self.address)
    }

    /// A connection to it.
    pub fn connect(&self) -> Result<Box<dyn Stream>, Failure> {
        client::secure(client::connect(self.address)?, self.tls.as_ref())
    }

    /// The process that was started; the server lives as long as it.
    pub fn into_process(self) -> Process {
        self.process
    }
}

/// A server about to be started.
pub struct Launch {
    server: Server,
    purpose: Purpose,
    port: u16,
    site: PathBuf,
    scratch: PathBuf,
    descriptors: u64,
    identity: Identity,
    /// For its clients, if it is to speak TLS.
    tls: Option<Arc<ClientConfig>>,
}

impl Launch {
    /// Chooses a port, and writes the content and the configuration.
    pub fn prepare(bench: &Bench, server: Server, purpose: Purpose, scheme: Scheme) -> Result<Self, Failure> {
        let port = free_port()?;
        let scratch = bench.scratch.join(format!("{}-{port}", server.name()));
        fs::create_dir_all(&scratch)?;
        let site = bench.scratch.join("site");
        fs::create_dir_all(&site)?;
        let file = site.join(purpose.path());
        if !file.exists() {
            fs::write(file, purpose.content())?;
        }
        let identity = Identity::in_folder(&bench.scratch);
        let tls = match scheme {
            Scheme::Http => None,
            Scheme::Https => Some(tls::client_config(&identity.certificate, Signature::Checked)?),
        };
        let launch = Self { server, purpose, port, site, scratch, descriptors: bench.descriptors, identity, tls };
        if let Some(text) = launch.configuration() {
            fs::write(launch.configuration_file(), text)?;
        }
        Ok(launch)
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    fn configuration_file(&self) -> PathBuf {
        self.scratch.join("conf")
    }

    fn configuration(&self) -> Option<String> {
        let Self { port, descriptors, .. } = *self;
        let identity = self.tls.is_some().then_some(&self.identity);
        let settings = Settings { port, site: &self.site, scratch: &self.scratch, descriptors, identity };
        match self.server {
            Server::Nginx => Some(configuration::nginx(&settings)),
            Server::Lighttpd => Some(configuration::lighttpd(&settings)),
            Server::H2o => Some(configuration::h2o(&settings)),
            Server::Haproxy => Some(configuration::haproxy(&settings, self.purpose.path())),
            _ => None,
        }
    }

    /// What starts it. What it says goes to a file.
    pub fn command(&self, program: &Path) -> Result<Command, Failure> {
        let log = File::create(self.log())?;
        let mut command = Command::new(program);
        command.args(self.arguments()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    fn log(&self) -> PathBuf {
        self.scratch.join("log")
    }

    fn arguments(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https://" } else { "" };
        let listen = || ["--listen".into(), format!("{scheme}{}", self.address())];
        let configuration = self.configuration_file().display().to_string();
        match self.server {
            Server::Floor => self.floor_mode().into_iter().chain(listen()).collect(),
            Server::Tidemill => self.tidemill_arguments().into_iter().chain(listen()).collect(),
            Server::Hyper | Server::May => listen().into(),
            Server::Nginx => {
                let (prefix, error) = (self.scratch.display(), self.scratch.join("error"));
                ["-p", &format!("{prefix}/"), "-c", &configuration, "-e", &error.display().to_string()]
                    .map(String::from)
                    .into()
            }
            Server::Lighttpd => ["-D", "-f", &configuration].map(String::from).into(),
            Server::H2o => ["-m", "worker", "-c", &configuration].map(String::from).into(),
            Server::Haproxy => ["-db", "-q", "-f", &configuration].map(String::from).into(),
            Server::Node => {
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/http-node.js");
                vec![script.into(), self.port.to_string()]
            }
        }
    }

    fn floor_mode(&self) -> Vec<String> {
        match self.purpose {
            Purpose::Plaintext => vec![],
            Purpose::Closing => vec!["close".into()],
            Purpose::File { name, is_from_memory, .. } => {
                let mode = if is_from_memory { "memory" } else { "sendfile" };
                vec![mode.into(), self.site.join(name).display().to_string()]
            }
        }
    }

    fn tidemill_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--keep-alive-timeout".into(), "1h".into()];
        if self.tls.is_some() {
            let [certificate, key] = [&self.identity.certificate, &self.identity.key].map(|file| file.display());
            arguments.extend(["--tls-cert".into(), certificate.to_string(), "--tls-key".into(), key.to_string()]);
        }
        if matches!(self.purpose, Purpose::File { .. }) {
            arguments.push(self.site.display().to_string());
        }
        arguments
    }

    /// Asks until there is an answer, without a pause, as this also measures how long a start takes.
    pub fn first_answer(&self, process: &mut Process) -> Result<Answer, Failure> {
        let fields = if self.purpose == Purpose::Closing { [("Connection", "close")].as_slice() } else { &[] };
        let request = client::request(self.address(), self.purpose.path(), fields);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match client::connect(self.address()) {
                Ok(stream) => {
                    let mut stream = client::secure(stream, self.tls.as_ref())?;
                    return client::exchange(&mut stream, request.as_bytes());
                }
                Err(error) if process.has_ended() || Instant::now() > deadline => {
                    let log = fs::read_to_string(self.log())?;
                    return Err(format!("it did not start: {error}\n{log}").into());
                }
                Err(_) => {}
            }
        }
    }
}

/// A port that nobody listens on, by the kernel's choice.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
