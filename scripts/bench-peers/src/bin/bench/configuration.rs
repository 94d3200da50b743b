//! What the servers with a configuration of their own are told: one worker, no log, connections without end, and for
//! files what their manuals advise.

use std::net::SocketAddr;
use std::path::Path;
use tidemill_bench::tls::Identity;

/// What a configuration is about.
pub struct Settings<'a> {
    pub address: SocketAddr,
    /// The folder to serve.
    pub site: &'a Path,
    /// A folder for what the server itself wants to write.
    pub scratch: &'a Path,
    /// How many files it may have open.
    pub descriptors: u64,
    /// Of a server that speaks TLS, and nothing else.
    pub identity: Option<&'a Identity>,
    /// HTTP/2 and nothing else: over TLS by ALPN, otherwise by prior knowledge.
    pub is_http2: bool,
    /// Where everything is passed on to, if it is.
    pub upstream: Option<SocketAddr>,
}

/// TLS 1.3, in this order. Sessions are resumed as each server does by default.
const CIPHERS: &str = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

/// nginx has no better way to a constant than `return`; that adds Connection to TechEmpower's fields. It closes idle
/// connections once fewer than a sixteenth of those it may have are left, so it may have more than there can be. With
/// `sendfile`, over HTTP/2, it switches TCP_NODELAY off, and the content of a small file waits until the client has
/// acknowledged the fields; it also takes more CPU time. As a proxy it keeps connections to the upstream only if it is told so.
pub fn nginx(settings: &Settings) -> String {
    let Settings { address, descriptors, .. } = settings;
    let (site, scratch) = (settings.site.display(), settings.scratch.display());
    let connections = descriptors.saturating_mul(9) / 8;
    let (http2, sendfile) = if settings.is_http2 { (" http2", "off") } else { ("", "on") };
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let (ssl, tls) = settings.identity.map_or_else(Default::default, |Identity { certificate, key }| {
        let (certificate, key) = (certificate.display(), key.display());
        let tls = format!(
            "ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        ssl_prefer_server_ciphers on;
        ssl_conf_command Ciphersuites {CIPHERS};"
        );
        (" ssl", tls)
    });
    let (behind, pass) = settings.upstream.map_or_else(Default::default, |upstream| {
        let behind = format!("upstream behind {{ server {upstream}; keepalive 32; keepalive_requests 1000000000; }}");
        let pass = "location / {
            proxy_pass http://behind;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_set_header Connection '';
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }";
        (behind, pass)
    });
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
    sendfile {sendfile};
    tcp_nopush on;
    open_file_cache max=1000;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path {scratch}/body;
    proxy_temp_path {scratch}/proxy;
    fastcgi_temp_path {scratch}/fastcgi;
    uwsgi_temp_path {scratch}/uwsgi;
    scgi_temp_path {scratch}/scgi;
    {behind}
    server {{
        listen {address}{ssl}{http2} backlog=4096;
        {tls}
        root {site};
        location = /plaintext {{ default_type text/plain; return 200 'Hello, World!'; }}
        {pass}
    }}
}}
"
    )
}

/// lighttpd takes the constant from a file; 65535 is the most requests it can be told to allow a connection, and half as
/// many connections as files are the most it takes.
pub fn lighttpd(settings: &Settings) -> String {
    let Settings { address, descriptors, .. } = settings;
    let (site, scratch) = (settings.site.display(), settings.scratch.display());
    let connections = descriptors / 2;
    let (host, port) = (address.ip(), address.port());
    format!(
        "server.bind = \"{host}\"
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

/// h2o takes the constant from a file. It speaks HTTP/2 with whoever begins with that. The order of TLS 1.3's ciphers
/// cannot be told to it. Unless neverbleed is off, another process signs for it, whose CPU time would not count.
pub fn h2o(settings: &Settings) -> String {
    let Settings { address, descriptors, .. } = settings;
    let (site, host, port) = (settings.site.display(), address.ip(), address.port());
    let user = if rustix::process::geteuid().is_root() { "user: root" } else { "" };
    let ssl = settings.identity.map_or_else(String::new, |Identity { certificate, key }| {
        let (certificate, key) = (certificate.display(), key.display());
        format!(
            ", ssl: {{ certificate-file: {certificate}, key-file: {key}, minimum-version: TLSv1.3, \
             neverbleed: OFF, ocsp-update-interval: 0 }}"
        )
    });
    format!(
        "{user}
listen: {{ host: {host}, port: {port}{ssl} }}
num-threads: 1
num-name-resolution-threads: 1
max-connections: {descriptors}
http1-request-timeout: 3600
http2-idle-timeout: 3600
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

/// HAProxy serves no files: unless it is a proxy, it answers everything with the content of this one, which it reads at the
/// start. It finds the key beside the certificate, in a file named after it.
pub fn haproxy(settings: &Settings, path: &str) -> String {
    let Settings { address, descriptors, .. } = settings;
    let site = settings.site.display();
    let answer = settings.upstream.map_or_else(
        || format!("http-request return status 200 content-type application/octet-stream file {site}/{path}"),
        |upstream| {
            format!(
                "option forwardfor
    default_backend behind
backend behind
    http-reuse always
    server upstream {upstream}"
            )
        },
    );
    let tls =
        settings.identity.map_or_else(String::new, |identity| format!("ssl crt {}", identity.certificate.display()));
    let http2 = match (settings.is_http2, settings.identity) {
        (false, _) => "",
        (true, None) => "proto h2",
        (true, Some(_)) => "alpn h2",
    };
    format!(
        "global
    nbthread 1
    fd-hard-limit {descriptors}
    ssl-default-bind-options ssl-min-ver TLSv1.3
    ssl-default-bind-ciphersuites {CIPHERS}
defaults
    mode http
    timeout client 1h
    timeout http-request 1h
    timeout http-keep-alive 1h
    timeout connect 5s
    timeout server 1h
frontend bench
    bind {address} backlog 4096 {tls} {http2}
    {answer}
"
    )
}

/// Caddy is here as a proxy. It keeps 32 idle connections to an upstream, and has no access log unless it is told to.
pub fn caddy(settings: &Settings) -> String {
    let Settings { address, .. } = settings;
    let (host, port) = (address.ip(), address.port());
    let answer = settings.upstream.map_or_else(
        || format!("root * {}\n    file_server", settings.site.display()),
        |upstream| format!("reverse_proxy {upstream}"),
    );
    format!(
        "{{
    admin off
    auto_https off
}}
http://:{port} {{
    bind {host}
    {answer}
}}
"
    )
}
