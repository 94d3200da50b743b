//! What the servers with a configuration of their own are told: one worker, no log, connections without end, and for
//! files what their manuals advise.

use std::path::Path;

/// What a configuration is about.
pub struct Settings<'a> {
    pub port: u16,
    /// The folder to serve.
    pub site: &'a Path,
    /// A folder for what the server itself wants to write.
    pub scratch: &'a Path,
    /// How many files it may have open.
    pub descriptors: u64,
}

/// nginx has no better way to a constant than `return`; that adds Connection to TechEmpower's fields. It closes idle
/// connections once fewer than a sixteenth of those it may have are left, so it may have more than there can be.
pub fn nginx(settings: &Settings) -> String {
    let Settings { port, descriptors, .. } = settings;
    let (site, scratch) = (settings.site.display(), settings.scratch.display());
    let connections = descriptors.saturating_mul(9) / 8;
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    format!(
        "{user}
worker_processes 1;
worker_rlimit_nofile {descriptors};
daemon off;
pid {scratch}/pid;
error_log {scratch}/error;
events {{ worker_connections {connections}; }}
http {{
    types {{ text/plain txt; }}
    default_type application/octet-stream;
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=1000;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path {scratch}/body;
    proxy_temp_path {scratch}/proxy;
    fastcgi_temp_path {scratch}/fastcgi;
    uwsgi_temp_path {scratch}/uwsgi;
    scgi_temp_path {scratch}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {site};
        location = /plaintext {{ default_type text/plain; return 200 'Hello, World!'; }}
    }}
}}
"
    )
}

/// lighttpd takes the constant from a file; 65535 is the most requests it can be told to allow a connection, and half as
/// many connections as files are the most it takes.
pub fn lighttpd(settings: &Settings) -> String {
    let Settings { port, descriptors, .. } = settings;
    let (site, scratch) = (settings.site.display(), settings.scratch.display());
    let connections = descriptors / 2;
    format!(
        "server.bind = \"127.0.0.1\"
server.port = {port}
server.document-root = \"{site}\"
server.errorlog = \"{scratch}/error\"
server.tag = \"lighttpd\"
server.event-handler = \"linux-sysepoll\"
server.network-backend = \"sendfile\"
server.listen-backlog = 4096
server.max-fds = {descriptors}
server.max-connections = {connections}
server.max-keep-alive-requests = 65535
server.max-keep-alive-idle = 3600
mimetype.assign = ( \".bin\" => \"application/octet-stream\", \"plaintext\" => \"text/plain\" )
"
    )
}

/// h2o takes the constant from a file.
pub fn h2o(settings: &Settings) -> String {
    let Settings { port, descriptors, .. } = settings;
    let site = settings.site.display();
    let user = if rustix::process::geteuid().is_root() { "user: root" } else { "" };
    format!(
        "{user}
listen: {{ host: 127.0.0.1, port: {port} }}
num-threads: 1
num-name-resolution-threads: 1
max-connections: {descriptors}
http1-request-timeout: 3600
server-name: h2o
file.etag: OFF
file.send-compressed: OFF
file.mime.setdefaulttype: text/plain
file.mime.addtypes: {{ application/octet-stream: .bin }}
hosts:
  default:
    paths:
      /:
        file.dir: {site}
"
    )
}
