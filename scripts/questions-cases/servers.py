"""A folder, free ports and processes for a case; tidemill and its peers, as the cases need them."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# No wait for a server, an answer, or the end of a stage is longer than this, in seconds.
START_MAX, ANSWER_MAX, STAGE_MAX = 10, 15, 20
# How long a peer has to say something, in seconds, before it has said nothing.
PEER_MAX = 4
# The ports that cases and the documentation name: requests, the admin listener, TLS. Each is replaced by a free one.
PORTS = ("8080", "9901", "8443")
# Where programs are looked for: those of administrators, too.
SEARCHED = f"{os.environ['PATH']}:/usr/sbin:/sbin"


class Failure(Exception):
    """A case that could not be staged, or whose answer is wrong."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


class Room:
    """Where a case takes place: a folder, ports, and if it needs one a network namespace. All of it is taken down."""

    def __init__(self, case, binary):
        self.case, self.binary = case, binary
        self.folder = tempfile.mkdtemp(prefix="tidemill-questions-")
        self.ports = {port: free_port() for port in (*PORTS, "backend")}
        self.processes, self.namespace, self.server = [], None, None
        self.bin = os.path.join(self.folder, "bin")
        os.mkdir(self.bin)
        os.symlink(binary, os.path.join(self.bin, "tidemill"))
        for client in ("http2-client.py", "tcp-client.py"):
            shutil.copy(os.path.join(HERE, client), self.folder)

    def __enter__(self):
        if self.case.is_root:
            self.namespace = os.path.basename(self.folder)
            subprocess.run(["ip", "netns", "add", self.namespace], check=True)
            subprocess.run(["ip", "-n", self.namespace, "link", "set", "lo", "up"], check=True)
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            # Each has a session of its own, which holds nothing but what it has started.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        if self.namespace:
            subprocess.run(["ip", "netns", "delete", self.namespace], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def here(self, text):
        """A text of the documentation with the ports of this room."""
        return re.sub(r"\b(8080|9901|8443)\b", lambda found: self.ports[found[1]], text)

    def as_documented(self, text):
        """What was printed, with the ports and the folder of the documentation."""
        for port in PORTS:
            text = re.sub(rf"\b{self.ports[port]}\b", port, text)
        return text.replace(self.folder, "/srv/site")

    def spawn(self, command, log=None):
        """A process in a session of its own. Its output goes to a file of the folder."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("TIDEMILL_", "RUST_LOG"))}
        environment["PATH"] = f"{self.bin}:{SEARCHED}"
        environment.update(SERVER=str(self.server or ""), LC_ALL="C")
        if not log:
            environment["TIDEMILL_ADMIN"] = f"127.0.0.1:{self.ports['9901']}"
        prefix = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        output = open(os.path.join(self.folder, log), "ab") if log else subprocess.PIPE
        process = subprocess.Popen(
            [*prefix, *command],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if log:
            output.close()
        self.processes.append(process)
        return process

    def shell(self, text, timeout=START_MAX):
        """What a command prints."""
        process = self.spawn(["bash", "-c", self.here(text)])
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"after {timeout} s it is not over: {text}") from None
        self.processes.remove(process)
        return self.as_documented(output.decode(errors="replace"))

    def start(self, server):
        """Starts a server, and waits until it is ready."""
        process = self.spawn(["bash", "-c", f"exec {self.here(server.command(self))}"], log="server.log")
        self.wait(process, "server.log", lambda: server.is_ready(self, process))
        self.peer, self.server = server, server.process_id(self, process)

    def start_backend(self):
        """What answers behind a peer: a tidemill, whose logs nobody reads."""
        command = [self.binary, "--lab", "--listen", f"127.0.0.1:{self.ports['backend']}", self.folder]
        process = self.spawn(command, log="backend.log")
        self.wait(process, "backend.log", lambda: "listening on" in self.read("backend.log"))

    def wait(self, process, log, is_ready):
        end = time.monotonic() + START_MAX
        while process.poll() is None and time.monotonic() < end:
            if is_ready():
                return
            time.sleep(0.02)
        raise Failure(f"the server does not listen: {self.read(log)[-2000:]}")

    def stage(self):
        """Runs the clients. What they leave in the background goes on."""
        text = self.case.stage.replace("kill -TERM $SERVER", self.peer.stop)
        process = self.spawn(["bash", "-c", self.here(text)], log="stage.log")
        try:
            process.wait(timeout=STAGE_MAX)
        except subprocess.TimeoutExpired:
            raise Failure(f"after {STAGE_MAX} s the stage is not over") from None

    def answer(self, ask, patterns):
        """What the command says as soon as all patterns are there."""
        end = time.monotonic() + ANSWER_MAX
        while True:
            text = self.shell(ask)
            missing = [pattern for pattern in patterns if not re.search(pattern, text, re.MULTILINE)]
            if not missing:
                return text
            if time.monotonic() > end:
                raise Failure(
                    f"no {missing[0]!r} in the answer of {ask}:\n{text}\nclients:\n{self.read('stage.log')}"
                    f"\nserver:\n{self.read('server.log')[-1500:]}"
                )
            time.sleep(0.1)

    def report(self, pattern):
        """All that a peer says as soon as the pattern is there, or when it has had its time; and whether it is there."""
        end = time.monotonic() + (ANSWER_MAX if pattern else PEER_MAX)
        while True:
            text = f"===== clients\n{self.read('stage.log')}\n" + "\n".join(
                f"===== {name}\n{self.shell(ask)}" for name, ask in self.peer.sources.items()
            )
            is_found = bool(pattern and re.search(pattern, text, re.MULTILINE))
            if is_found or time.monotonic() > end:
                return text, is_found
            time.sleep(0.2)

    def read(self, name):
        try:
            with open(os.path.join(self.folder, name), errors="replace") as file:
                return self.as_documented(file.read())
        except OSError:
            return ""

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w") as file:
            file.write(text)


class Tidemill:
    stop = "kill -TERM $SERVER"

    def __init__(self, case):
        self.case = case

    def command(self, room):
        return " ".join(part for part in (self.case.prefix, "tidemill", FLAGS, self.case.flags) if part)

    def is_ready(self, room, process):
        return "admin on" in room.read("server.log")

    def process_id(self, room, process):
        return process.pid


# What docs/questions.md starts each tidemill with.
FLAGS = "--listen 127.0.0.1:8080 --admin 127.0.0.1:9901 --access-log=access.log --log-format pretty"
CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem 2>/dev/null"
    " && cat cert.pem key.pem >both.pem"
)


class Peer:
    """A server in front of a tidemill, with the logs and the pages of state that its documentation offers."""

    def __init__(self, case):
        self.case = case
        # How the case bends its configuration: by the names that `configuration` asks for.
        self.tuning = case.tuning.get(type(self).__name__.lower(), {})

    def command(self, room):
        room.shell(CERTIFICATE)
        room.write("configuration", room.here(self.configuration(room)))
        return f"{self.case.peer_prefix.format(folder=room.folder)} {self.program}".strip()

    def is_ready(self, room, process):
        """Looks into the kernel's table: a connection to try it would be seen by the server."""
        try:
            with open(f"/proc/{process.pid}/net/tcp") as file:
                return f":{int(room.ports['8080']):04X} 00000000:0000 0A" in file.read()
        except OSError:
            return False

    def process_id(self, room, process):
        return process.pid


class Nginx(Peer):
    stop = "kill -QUIT $(cat nginx.pid)"
    program = "nginx -p . -c configuration -e error.log"
    sources = {
        "access.log": "tail -n 40 access.log",
        "error.log": "tail -n 40 error.log",
        "stub_status": "curl -s -m 2 127.0.0.1:9901/",
    }

    def process_id(self, room, process):
        """The worker: it is what serves, and what a signal to stop must reach."""
        end = time.monotonic() + START_MAX
        while time.monotonic() < end:
            with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
                children = file.read().split()
            if children:
                return int(children[0])
            time.sleep(0.02)
        raise Failure("nginx has no worker")

    def configuration(self, room):
        http2 = "http2" if self.case.is_http2 else ""
        return f"""
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
pid nginx.pid;
worker_processes 1;
{self.tuning.get("main", "")}
error_log error.log info;
events {{ worker_connections {self.tuning.get("connections", 512)}; }}
http {{
    log_format questions '$remote_addr:$remote_port "$request" $status sent=$bytes_sent time=$request_time '
        'upstream=$upstream_status,$upstream_connect_time,$upstream_header_time,$upstream_response_time '
        'c=$connection r=$connection_requests completion=$request_completion tls=$ssl_protocol '
        'rtt=$tcpinfo_rtt forwarded="$http_x_forwarded_for"';
    access_log access.log questions;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {self.tuning.get("http", "")}
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    server {{
        listen 127.0.0.1:8080 {http2} {self.tuning.get("listen", "")};
        listen 127.0.0.1:8443 ssl http2;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate cert.pem;
        ssl_certificate_key key.pem;
        location / {{
            proxy_pass http://127.0.0.1:{room.ports["backend"]};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }}
    }}
    server {{ listen 127.0.0.1:9901; access_log off; error_log status.log; location / {{ stub_status; }} }}
}}
"""


class Haproxy(Peer):
    stop = "kill -USR1 $SERVER"
    program = "haproxy -db -f configuration"
    sources = {
        "log": "tail -n 40 server.log",
        "show sess all": "echo 'show sess all' | nc -w 2 -U stats",
        "show info": "echo 'show info' | nc -w 2 -U stats",
        "show errors": "echo 'show errors' | nc -w 2 -U stats",
        "show stat": "echo 'show stat' | nc -w 2 -U stats",
        "show fd": "echo 'show fd' | nc -w 2 -U stats | grep -i cflg",
    }

    def configuration(self, room):
        return f"""
global
    log stdout format raw local0
    stats socket {room.folder}/stats level admin
    nbthread 1
    {self.tuning.get("global", "")}
defaults
    mode http
    log global
    option httplog
    option abortonclose
    error-log-format "%ci:%cp [%tr] %ft %ts %{{+Q}}[fc_err_str] %{{+Q}}[ssl_fc_err_str]"
    {self.tuning.get("defaults", "")}
    timeout client {self.tuning.get("client", "60s")}
    timeout connect 5s
    timeout server 60s
    timeout tunnel {self.tuning.get("tunnel", "1h")}
frontend questions
    bind 127.0.0.1:8080 {"proto h2" if self.case.is_http2 else ""} {self.tuning.get("bind", "")}
    bind 127.0.0.1:8443 ssl crt both.pem alpn h2,http/1.1
    capture request header X-Forwarded-For len 40
    {self.tuning.get("frontend", "")}
    default_backend tidemill
backend tidemill
    server one 127.0.0.1:{room.ports["backend"]}
"""


class Lighttpd(Peer):
    stop = "kill -INT $SERVER"
    program = "lighttpd -D -f configuration"
    sources = {
        "access.log": "kill -HUP $SERVER; sleep 0.1; tail -n 40 access.log",
        "error.log": "grep -v 'logfiles cycled' error.log",
        "server-status": (
            "curl -s -m 2 127.0.0.1:9901/server-status | tr -d '\\n' | sed 's/.*<\\/script>//; s/<\\/tr>/\\n/g'"
            " | sed 's/<[^>]*>/ /g; s/&nbsp;/ /g' | grep -v 127.0.0.1:9901"
        ),
        "server-statistics": "curl -s -m 2 127.0.0.1:9901/server-statistics",
    }

    def configuration(self, room):
        return f"""
server.modules = ("mod_accesslog", "mod_status", "mod_proxy", "mod_openssl")
server.document-root = "{room.folder}"
server.bind = "127.0.0.1"
server.port = 8080
server.errorlog = "{room.folder}/error.log"
accesslog.filename = "{room.folder}/access.log"
accesslog.format = "%h:%{{remote}}p \\"%r\\" %s in=%I out=%O keep=%X time=%D us forwarded=\\"%{{X-Forwarded-For}}i\\""
debug.log-timeouts = "enable"
debug.log-request-header-on-error = "enable"
{self.tuning.get("main", "")}
proxy.server = ("{self.tuning.get("proxied", "")}" => (("host" => "127.0.0.1", "port" => {room.ports["backend"]})))
proxy.header = ("upgrade" => "enable")
$SERVER["socket"] == "127.0.0.1:8443" {{
    ssl.engine = "enable"
    ssl.pemfile = "{room.folder}/both.pem"
}}
$SERVER["socket"] == "127.0.0.1:9901" {{
    status.status-url = "/server-status"
    status.statistics-url = "/server-statistics"
    proxy.server = ()
    accesslog.filename = ""
}}
"""


PEERS = {"nginx": Nginx, "haproxy": Haproxy, "lighttpd": Lighttpd}
