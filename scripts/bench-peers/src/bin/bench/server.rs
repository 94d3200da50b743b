//! The servers: where they are, how they are started, and that they answer what is asked of them.

use crate::client::{self, Answer, Stream};
use crate::configuration::{self, Settings};
use crate::http2_client::Connection;
use crate::link::{self, Link};
use crate::process::Process;
use crate::{Bench, Failure};
use rustls::ClientConfig;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
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
    Nghttpd,
    Caddy,
}

impl Server {
    pub const ALL: [Self; 11] = [
        Self::Floor,
        Self::Tidemill,
        Self::Nginx,
        Self::Lighttpd,
        Self::H2o,
        Self::Hyper,
        Self::May,
        Self::Node,
        Self::Haproxy,
        Self::Nghttpd,
        Self::Caddy,
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
            Self::Nghttpd => Some("nghttp2-server"),
            Self::Caddy => Some("caddy"),
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

/// What servers and clients speak; over TLS with the identity in the bench's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1
    Http,
    /// HTTP/1.1 over TLS
    Https,
    /// HTTP/2 by prior knowledge
    H2c,
    /// HTTP/2 over TLS, by ALPN
    H2,
}

impl Protocol {
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Http | Self::H2c => "http",
            Self::Https | Self::H2 => "https",
        }
    }

    pub fn is_http2(self) -> bool {
        matches!(self, Self::H2c | Self::H2)
    }

    /// For clients; none if there is no TLS.
    fn client_config(self, identity: &Identity) -> Result<Option<Arc<ClientConfig>>, Failure> {
        let mut config = match self {
            Self::Http | Self::H2c => return Ok(None),
            Self::Https | Self::H2 => tls::client_config(&identity.certificate, Signature::Checked)?,
        };
        if self == Self::H2 {
            Arc::make_mut(&mut config).alpn_protocols = vec![b"h2".to_vec()];
        }
        Ok(Some(config))
    }
}

/// How clients reach a server, and what it is for.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    pub protocol: Protocol,
    /// None: over loopback.
    pub link: Option<&'a Link>,
    pub role: Role,
}

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It answers, on the core of the servers.
    Server,
    /// It answers a proxy, and runs on the core of the load, so that the other is the proxy's alone.
    Upstream,
    /// It passes everything on to this address.
    Proxy(SocketAddr),
}

impl From<Protocol> for Access<'_> {
    fn from(protocol: Protocol) -> Self {
        Self { protocol, link: None, role: Role::Server }
    }
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

    /// Writes it into the site, unless it is there; says which folder that is.
    pub fn write_file(self, bench: &Bench) -> std::io::Result<PathBuf> {
        let site = bench.scratch.join("site");
        fs::create_dir_all(&site)?;
        let file = site.join(self.path());
        if !file.exists() {
            fs::write(file, self.content())?;
        }
        Ok(site)
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
    pub protocol: Protocol,
    /// For its clients, if it speaks TLS.
    tls: Option<Arc<ClientConfig>>,
    process: Process,
}

impl Running {
    /// Starts it and waits for its first answer, which has to be the right one.
    pub fn start<'a>(
        bench: &Bench,
        server: Server,
        purpose: Purpose,
        access: impl Into<Access<'a>>,
    ) -> Result<Self, Failure> {
        let running = Self::start_anew(bench, server, purpose, access.into());
        running.map_err(|error| format!("{}: {error}", server.name()).into())
    }

    fn start_anew(bench: &Bench, server: Server, purpose: Purpose, access: Access) -> Result<Self, Failure> {
        let program = server.program(bench).ok_or("not there")?;
        let launch = Launch::prepare(bench, server, purpose, access)?;
        let mut command = launch.command(&program)?;
        let mut process = match launch.role {
            Role::Upstream => Process::start_here(&mut command)?,
            Role::Server | Role::Proxy(_) => Process::start(&mut command)?,
        };
        let answer = launch.first_answer(&mut process)?;
        let expected = purpose.content();
        if !answer.is_ok || answer.content != expected {
            return Err(format!("not the content asked for, but {}", answer.head).into());
        }
        let pid = match server {
            Server::Nginx => *process.children().first().ok_or("no worker")?,
            _ => process.id(),
        };
        let Launch { address, protocol, tls, .. } = launch;
        Ok(Self { server, address, pid, answer_bytes: answer.bytes, protocol, tls, process })
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}/{path}", self.protocol.scheme(), self.address)
    }

    /// A connection to it.
    pub fn connect(&self) -> Result<Box<dyn Stream>, Failure> {
        client::secure(client::connect(self.address)?, self.tls.as_ref())
    }

    /// One that speaks HTTP/2.
    pub fn connect_http2(&self) -> Result<Connection, Failure> {
        Connection::open(self.connect()?, self.protocol.scheme(), self.address)
    }

    /// The process that was started; the server lives as long as it.
    pub fn into_process(self) -> Process {
        self.process
    }
}

/// A server about to be started.
pub struct Launch<'a> {
    server: Server,
    purpose: Purpose,
    protocol: Protocol,
    link: Option<&'a Link>,
    role: Role,
    address: SocketAddr,
    site: PathBuf,
    scratch: PathBuf,
    descriptors: u64,
    identity: Identity,
    /// For its clients, if it is to speak TLS.
    tls: Option<Arc<ClientConfig>>,
}

impl<'a> Launch<'a> {
    /// Chooses a port, and writes the content and the configuration.
    pub fn prepare(
        bench: &Bench,
        server: Server,
        purpose: Purpose,
        access: impl Into<Access<'a>>,
    ) -> Result<Self, Failure> {
        let Access { protocol, link, role } = access.into();
        // Where the servers have a host of their own, all of its ports are free.
        let port = free_port()?;
        let host = if link.is_some() { link::SERVER } else { Ipv4Addr::LOCALHOST };
        let scratch = bench.scratch.join(format!("{}-{port}", server.name()));
        fs::create_dir_all(&scratch)?;
        let site = purpose.write_file(bench)?;
        let identity = Identity::in_folder(&bench.scratch);
        let tls = protocol.client_config(&identity)?;
        let (address, descriptors) = ((host, port).into(), bench.descriptors);
        let launch = Self { server, purpose, protocol, link, role, address, site, scratch, descriptors, identity, tls };
        if let Some(text) = launch.configuration() {
            fs::write(launch.configuration_file(), text)?;
        }
        Ok(launch)
    }

    /// Where it passes everything on to, if it does.
    fn upstream(&self) -> Option<SocketAddr> {
        match self.role {
            Role::Proxy(upstream) => Some(upstream),
            Role::Server | Role::Upstream => None,
        }
    }

    fn configuration_file(&self) -> PathBuf {
        self.scratch.join("conf")
    }

    fn configuration(&self) -> Option<String> {
        let Self { address, descriptors, .. } = *self;
        let identity = self.tls.is_some().then_some(&self.identity);
        let is_http2 = self.protocol.is_http2();
        let (site, scratch) = (&*self.site, &*self.scratch);
        let upstream = self.upstream();
        let settings = Settings { address, site, scratch, descriptors, identity, is_http2, upstream };
        match self.server {
            Server::Nginx => Some(configuration::nginx(&settings)),
            Server::Lighttpd => Some(configuration::lighttpd(&settings)),
            Server::H2o => Some(configuration::h2o(&settings)),
            Server::Haproxy => Some(configuration::haproxy(&settings, self.purpose.path())),
            Server::Caddy => Some(configuration::caddy(&settings)),
            _ => None,
        }
    }

    /// What starts it. What it says goes to a file.
    pub fn command(&self, program: &Path) -> Result<Command, Failure> {
        let log = File::create(self.log())?;
        let mut command = self.link.map_or_else(|| Command::new(program), |link| link.command(program));
        command.args(self.arguments()).stdout(log.try_clone()?).stderr(log);
        if self.server == Server::Caddy {
            // One worker, as of the others, and nothing outside the bench's folder.
            command.env("GOMAXPROCS", "1").env("HOME", &self.scratch);
        }
        Ok(command)
    }

    fn log(&self) -> PathBuf {
        self.scratch.join("log")
    }

    fn arguments(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https://" } else { "" };
        let listen = || ["--listen".into(), format!("{scheme}{}", self.address)];
        let configuration = self.configuration_file().display().to_string();
        match self.server {
            Server::Floor => self.floor_mode().into_iter().chain(listen()).collect(),
            Server::Tidemill => self.tidemill_arguments().into_iter().chain(listen()).collect(),
            Server::Hyper => self.hyper_arguments().into_iter().chain(listen()).collect(),
            Server::May => listen().into(),
            Server::Nghttpd => self.nghttpd_arguments(),
            Server::Nginx => {
                let (prefix, error) = (self.scratch.display(), self.scratch.join("error"));
                ["-p", &format!("{prefix}/"), "-c", &configuration, "-e", &error.display().to_string()]
                    .map(String::from)
                    .into()
            }
            Server::Lighttpd => ["-D", "-f", &configuration].map(String::from).into(),
            Server::H2o => ["-m", "worker", "-c", &configuration].map(String::from).into(),
            Server::Haproxy => ["-db", "-q", "-f", &configuration].map(String::from).into(),
            Server::Caddy => ["run", "--adapter", "caddyfile", "--config", &configuration].map(String::from).into(),
            Server::Node => {
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/http-node.js");
                vec![script.into(), self.address.port().to_string()]
            }
        }
    }

    fn floor_mode(&self) -> Vec<String> {
        match self.purpose {
            Purpose::Plaintext => vec![],
            Purpose::Closing => vec!["close".into()],
            Purpose::File { name, is_from_memory, .. } => {
                let mode = match is_from_memory {
                    _ if self.protocol.is_http2() => "http2",
                    true => "memory",
                    false => "sendfile",
                };
                vec![mode.into(), self.site.join(name).display().to_string()]
            }
        }
    }

    fn hyper_arguments(&self) -> Vec<String> {
        let version = self.protocol.is_http2().then(|| "http2".to_string());
        let is_file = matches!(self.purpose, Purpose::File { .. });
        version.into_iter().chain(is_file.then(|| self.site.display().to_string())).collect()
    }

    fn nghttpd_arguments(&self) -> Vec<String> {
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let mut arguments = vec!["-a".into(), host, "-d".into(), self.site.display().to_string()];
        if self.tls.is_some() {
            let [key, certificate] = [&self.identity.key, &self.identity.certificate].map(|file| file.display());
            arguments.extend([port, key.to_string(), certificate.to_string()]);
        } else {
            arguments.extend(["--no-tls".into(), port]);
        }
        arguments
    }

    fn tidemill_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--keep-alive-timeout".into(), "1h".into()];
        if self.tls.is_some() {
            let [certificate, key] = [&self.identity.certificate, &self.identity.key].map(|file| file.display());
            arguments.extend(["--tls-cert".into(), certificate.to_string(), "--tls-key".into(), key.to_string()]);
        }
        if let Some(upstream) = self.upstream() {
            arguments.extend(["--proxy".into(), format!("/=http://{upstream}")]);
        } else if matches!(self.purpose, Purpose::File { .. }) {
            arguments.push(self.site.display().to_string());
        }
        arguments
    }

    /// Asks until there is an answer, without a pause, as this also measures how long a start takes.
    pub fn first_answer(&self, process: &mut Process) -> Result<Answer, Failure> {
        let fields = if self.purpose == Purpose::Closing { [("Connection", "close")].as_slice() } else { &[] };
        let path = self.purpose.path();
        let request = client::request(self.address, path, fields);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match client::connect(self.address) {
                Ok(stream) => {
                    let mut stream = client::secure(stream, self.tls.as_ref())?;
                    return match self.protocol.is_http2() {
                        true => Connection::open(stream, self.protocol.scheme(), self.address)?.exchange(path, &[]),
                        false => client::exchange(&mut stream, request.as_bytes()),
                    };
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
