"""The questions: how each is staged, the one command that answers it, and what the answer must say."""

import re
import textwrap
from dataclasses import dataclass, field


@dataclass
class Says:
    """What a peer says of a case: a cell of the table, and a pattern that is found in its logs and pages."""

    cell: str
    pattern: str | None = None


NOTHING = Says("nothing")
PROGRAMS = {"ab", "curl", "iptables", "nc", "openssl", "prlimit", "strace", "tshark", "wrk"}


def wrapped(text):
    return textwrap.fill(text, 128, break_long_words=False, break_on_hyphens=False)


@dataclass
class Case:
    name: str
    question: str
    # What the clients do, for bash. What it leaves in the background goes on until the case is over.
    stage: str
    # The command that answers; it is repeated until the answer is there.
    ask: str
    # Patterns that the answer must have, each at the beginning of a line or anywhere in it.
    answer: list
    # What the answer means, in a sentence or two.
    why: str
    # Flags of the server, behind those that all cases have, and what stands in front of its command.
    flags: str = ""
    prefix: str = ""
    is_root: bool = False
    is_quick: bool = True
    is_http2: bool = False
    # What the other servers say, by name, and how they are configured for it (`servers.py`).
    peers: dict = field(default_factory=dict)
    tuning: dict = field(default_factory=dict)
    peer_prefix: str = ""

    def programs(self):
        """The programs that it needs."""
        words = set(re.findall(r"[\w.-]+", f"{self.prefix} {self.stage} {self.ask}"))
        return sorted(words & PROGRAMS) + (["ip"] if self.is_root else [])

    def block(self, answer):
        """Its part of docs/questions.md."""
        server = f"The server has `{self.flags}`. " if self.flags else ""
        if self.prefix:
            server = f"The server runs as `{self.prefix} tidemill {self.flags}".rstrip() + "`. "
        root = "This needs root. " if self.is_root else ""
        answer = "\n".join(line.rstrip() for line in answer.strip("\n").split("\n"))
        lines = [f"## {self.name}", "", wrapped(f"**{self.question}** {server}{root}"), "", "```console"]
        lines += [f"$ {line}" for line in self.stage.strip().split("\n")]
        lines += [f"$ {self.ask}", answer, "```", "", wrapped(self.why), ""]
        return "\n".join(lines)


CONNECTIONS = "curl -s 127.0.0.1:9901/connections"
METRICS = "curl -s 127.0.0.1:9901/metrics"


def peers(nginx, haproxy, lighttpd):
    said = {"nginx": nginx, "haproxy": haproxy, "lighttpd": lighttpd}
    return {peer: says for peer, says in said.items() if says}


WRK_PAUSES = """printf 'function delay() return 2200 end' >pauses.lua"""

CASES = [
    Case(
        "client-left",
        "My proxy says 499, or the client says it timed out. Who gave up, and what was going on?",
        "curl -s -m 0.3 127.0.0.1:8080/delay/1000",
        "grep ' CFW ' access.log",
        [
            r"200 GET /delay/1000 .* CFW client left \(FIN\) after [1-9]\d\dms while the handler worked; "
            r"\d+B of the answer written, reset, never read"
        ],
        "The client ended its direction after 0.3 s, and the handler worked. The answer was sent and met a closed"
        " socket. nginx would log 499 here.",
        peers=peers(
            Says("499 after 0.3 s", r'"GET /delay/1000 HTTP/1.1" 499 .*time=0\.(2|3)'),
            Says(
                "`CH--` after 302 ms, with `option abortonclose`; 200 and `----` without it",
                r"/-1/[1-9]\d\d 400 .* CH-- .*GET /delay/1000",
            ),
            Says("nothing: 200 after 1 s", r"GET /delay/1000.* 200 .*time=1\d{6}"),
        ),
    ),
    Case(
        "client-reset",
        "Did the client give up politely, or was the connection reset?",
        "/usr/bin/python3 tcp-client.py 127.0.0.1:8080 reset",
        "grep ' C.W ' access.log",
        [r"--- GET /delay/1000 .* CRW client left \(reset\) after [1-9]\d\dms while the handler worked; no answer"],
        "R is a reset: the client closed with SO_LINGER 0. There was no status, because nothing was sent.",
        peers=peers(
            Says("499 after 0.2 s; `error.log` (info): `Connection reset by peer`", r"104: Connection reset by peer"),
            Says(
                "`CD--` or `CH--` after 200 ms: the client, with FIN or with a reset",
                r"/-1/[1-9]\d\d -1 .* C[DH]-- .*GET /delay/1000",
            ),
            Says("200 without bytes after 1 s, or no line at all", None),
        ),
    ),
    Case(
        "left-while-sending",
        "The download is cut off. Whose fault is it, and how much has arrived?",
        "curl -s 127.0.0.1:8080/bytes/100000000 | head -c 1000000 >/dev/null",
        "tidemill ask c=1 r=1",
        [
            r"200 GET /bytes/100000000 .* C[FR]S client left \((FIN|reset)\) after [\d.]+m?s while sending"
            # The kernel sends FIN before the reset if curl had read all that had come when it closed.
            r"(, the client's direction ended after [\d.]+[mµ]?s)?; [\d.]+(KiB|MiB) of the answer written, "
        ],
        "The client stopped reading and reset the connection. After a reset the kernel no longer knows how much was"
        " acknowledged.",
        peers=peers(
            Says(
                "200, the bytes, no `OK`; mostly also `writev() failed … Broken pipe` (info)",
                r'GET /bytes/100000000 HTTP/1.1" 200 sent=\d+ .*completion= ',
            ),
            Says("`CD--` and the bytes", r" 200 \d+ - - CD-- .*GET /bytes/100000000"),
            Says("200, the bytes, and `X`: aborted", r"GET /bytes/100000000.* 200 .*keep=X"),
        ),
    ),
    Case(
        "slow-head",
        "A connection hangs, and there is no request in the log. Who waits for whom?",
        "(printf 'GET / HTTP/1.1\\r\\nHo'; sleep 20) | nc 127.0.0.1 8080 &",
        f"{CONNECTIONS} | sed -n 3,4p",
        [r"receiving head  client-slow-head for .*, 9\.\ds left", r"bytes    18 received, 0 sent"],
        "18 bytes of a head have come. The client has another 9 s for the rest; then it gets 408.",
        peers=peers(
            Says("`Reading: 1`: a number", r"Reading: 1 "),
            Says("`CurrConns: 1` and a line of `show fd`; no session", r"CurrConns: 1"),
            Says("`server-status`: the client, `read`, and since when", r"127\.0\.0\.1 .* read "),
        ),
    ),
    Case(
        "head-timeout",
        "Who got 408, and what was the server waiting for?",
        "(printf 'GET / HTTP/1.1\\r\\nHo'; sleep 20) | nc -q 1 127.0.0.1 8080 &",
        "grep ' 408 ' access.log",
        [r"408 .* STH server ended it \(timeout\) after [5-9]\d\dms in the head"],
        "The server ended it (S) after a timeout (T) in the head (H).",
        flags="--header-timeout 500ms",
        tuning={
            "nginx": {"http": "client_header_timeout 500ms;"},
            "haproxy": {"defaults": "timeout http-request 500ms"},
            "lighttpd": {"main": "server.max-read-idle = 1"},
        },
        peers=peers(
            Says(
                "408; `error.log` (info): `client timed out … while reading client request headers`",
                r"client timed out .* while reading client request headers",
            ),
            Says("`cR`: a timeout of the client in the request", r"questions cR "),
            Says("nothing", None),
        ),
    ),
    Case(
        "body-or-handler",
        "Two requests are slow. Is it the upload or the handler?",
        "(printf 'POST /users HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 9\\r\\n\\r\\n{\"a\"'; sleep 20) | nc 127.0.0.1"
        " 8080 &\ncurl -s 127.0.0.1:8080/delay/20000 &",
        f"{CONNECTIONS} | grep -E '^c=|request|timers|content '",
        [
            (
                r"^c=\d+ .* client-slow-body for .*\n +request  r=1 POST /users.*\n +timers .*content [\d.]+m?s\n"
                r" +content  4 of 9 bytes"
            ),
            r"^c=\d+ .* timer for .*\n +request  r=1 GET /delay/20000.*\n +timers .*clock [\d.]+m?s",
        ],
        "The first one waits for its client's content (`client-slow-body`), of which 4 of 9 bytes have come; the second"
        " one for its handler, which waits for the clock.",
        peers=peers(
            Says("`Writing: 3`: a number, with its own", r"Writing: 3 "),
            Says(
                "`show sess all`: `MSG_DATA` and `MSG_DONE`, no path",
                r"req\.st=MSG_DATA[\s\S]*req\.st=MSG_DONE|req\.st=MSG_DONE[\s\S]*req\.st=MSG_DATA",
            ),
            Says(
                "`server-status`: `readpost` 4/9 of `/users`, `handle-req` of `/delay/20000`",
                r"4/9 .*readpost .*/users",
            ),
        ),
    ),
    Case(
        "stopped-reader",
        "A download does not go on. Is the client dead, or does it not read?",
        "curl -s -o /dev/null 127.0.0.1:8080/bytes/10000000000 & sleep 0.3; kill -STOP $!",
        f"{CONNECTIONS} | grep -E '^c=|peer'",
        [r"client-slow-read for", r"peer     alive, its window shut for [\d.]+m?s"],
        "The kernel there answers our probes with a window of 0: the machine lives, and the program does not read.",
        peers=peers(
            Says("`Writing: 2`: a number, with its own", r"Writing: 2 "),
            Says(
                "`show sess all`: bytes so far, and time to the timeout; not whether it lives",
                r"rsp\.st=MSG_DATA[\s\S]*total=\d{6}",
            ),
            Says("`server-status`: path and bytes; not whether it lives", r"handle-req .*/bytes/10000000000"),
        ),
    ),
    Case(
        "vanished-peer",
        "A download does not go on. Was it the network?",
        "curl -s -o /dev/null --limit-rate 5M 127.0.0.1:8080/bytes/10000000000 & sleep 1\n"
        "iptables -I INPUT -p tcp --dport 8080 -j DROP",
        f"{CONNECTIONS} | grep -E '^c=|kernel|peer'",
        [r"client-slow-read for", r"peer     silent for [3-9]\.\ds: \d+ (retransmits|probes)"],
        "Nothing has come from the other machine, although we tried several times: that is the network, or the machine"
        " is gone.",
        is_root=True,
        is_quick=False,
        peers=peers(
            Says("the same as of the reader that is stopped", r"Writing: 2 "),
            Says("the same as of the reader that is stopped", r"rsp\.st=MSG_DATA[\s\S]*total=\d{6}"),
            Says("the same as of the reader that is stopped", r"handle-req .*/bytes/10000000000"),
        ),
    ),
    Case(
        "how-much-arrived",
        "The log says 200. How much has the client got?",
        "curl -s -o /dev/null --limit-rate 5M 127.0.0.1:8080/bytes/30000000 & sleep 1\n"
        "iptables -I INPUT -p tcp --dport 8080 -j DROP",
        "grep ' S.S ' access.log",
        [
            r"200 GET /bytes/30000000 .* STS server ended it \(timeout: client-slow-read\) after .* while sending; .*"
            r" acknowledged"
        ],
        "Its kernel has acknowledged so much before the network failed; the rest was written for nobody.",
        flags="--send-timeout 2s",
        is_root=True,
        is_quick=False,
        tuning={
            "nginx": {"http": "send_timeout 2s;"},
            "haproxy": {"client": "2s"},
            "lighttpd": {"main": "server.max-write-idle = 2"},
        },
        peers=peers(
            Says(
                "200, `client timed out … while sending to client` (info), and the bytes written",
                r"timed out .* while sending to client",
            ),
            Says("`cD--`, and the bytes written", r"cD-- .*GET /bytes/30000000"),
            Says(
                "200, `X`; `error.log`: `timed out after writing 8650752 bytes`", r"timed out after writing \d+ bytes"
            ),
        ),
    ),
    Case(
        "wrk-read-errors",
        "wrk counts read errors. What are they?",
        f"{WRK_PAUSES}\nwrk -t1 -c4 -d5 -s pauses.lua http://127.0.0.1:8080/plaintext | grep errors",
        f"{METRICS} | grep '^tidemill_connection_verdicts'",
        [
            r'tidemill_connection_verdicts_total\{verdict="STI",side="server",means="timeout",phase="between'
            r' requests"\} [1-9]'
        ],
        "wrk calls it a read error if a connection ends between two requests. The server ended them (S), after a"
        " timeout (T) between requests (I): wrk pauses for 2.2 s, and the keep-alive timeout is 1 s.",
        flags="--keep-alive-timeout 1s",
        is_quick=False,
        tuning={
            "nginx": {"http": "keepalive_timeout 1s;"},
            "haproxy": {"defaults": "timeout http-keep-alive 1s"},
            "lighttpd": {"main": "server.max-keep-alive-idle = 1"},
        },
        peers=peers(
            NOTHING,
            NOTHING,
            NOTHING,
        ),
    ),
    Case(
        "keep-alive-race",
        "My proxy says `upstream prematurely closed connection` now and then. Why?",
        "/usr/bin/python3 tcp-client.py 127.0.0.1:8080 late",
        "grep 'a request came' server.log",
        [r"c=1: STI timeout: client-idle between requests after 1 request; a request came [\d.]+ ms after our FIN of"],
        "The server ended an idle connection at the moment at which the client used it again. Its"
        " `--keep-alive-timeout` is to be longer than that of the proxy.",
        flags="--keep-alive-timeout 300ms",
        tuning={
            "nginx": {"http": "keepalive_timeout 300ms;"},
            "haproxy": {"defaults": "timeout http-keep-alive 300ms"},
            "lighttpd": {"main": "server.max-keep-alive-idle = 1"},
        },
        peers=peers(NOTHING, NOTHING, NOTHING),
    ),
    Case(
        "time-wait",
        "There are hundreds of sockets in TIME_WAIT. Who made them, and why?",
        "ab -q -n 100 -c 4 http://127.0.0.1:8080/plaintext >/dev/null\ncurl -s 127.0.0.1:8080/plaintext >/dev/null",
        f"{METRICS} | grep -E '^tidemill_(first_fins|connection_verdicts)'",
        [
            r'verdict="S0I".*means="as HTTP/1.0 ends".*\} 100$',
            r'first_fins_total\{side="client"\} [1-5]$',
            r'first_fins_total\{side="server"\} 100$',
        ],
        "Whoever ends its direction first has the TIME_WAIT. For 100 connections that was the server, because ab speaks"
        " HTTP/1.0; `ab -k` or a client of HTTP/1.1 mends it.",
        peers=peers(
            NOTHING,
            NOTHING,
            Says("`keep=-` on each request: it was to be closed", r"HTTP/1\.0.* keep=-"),
        ),
    ),
    Case(
        "close-wait",
        "Why is a socket of the server in CLOSE_WAIT?",
        "printf 'GET /delay/20000 HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' | nc -N 127.0.0.1 8080 &",
        f"{CONNECTIONS} | grep -E '^c=|request|verdict|peer'",
        [r"CFW: client, FIN, while the handler worked", r"CLOSE-WAIT", r"request  r=1 GET /delay/20000", r"timer for"],
        "The client has ended its direction and may still read. The server works at its answer, and closes when it has"
        " sent it. With `--abort-on-close` it does not finish such work.",
        peers=peers(
            Says("it closes at once, without an answer: 499", r"GET /delay/20000.* 499 "),
            Says("with `abortonclose` it answers 400 at once: `CH--`", r" 400 .* CH-- .*GET /delay/20000"),
            Says(
                "`server-status`: `handle-req` and the path; not that the client has ended its direction",
                r"handle-req .*/delay/20000",
            ),
        ),
    ),
    Case(
        "accept-queue",
        "Some clients take exactly 1 or 3 s to connect. Did the accept queue overflow, and when?",
        "kill -STOP $SERVER; /usr/bin/python3 tcp-client.py 127.0.0.1:8080 crowd 20 & sleep 0.5; kill -CONT $SERVER",
        "curl -s 127.0.0.1:9901/loop | grep -A1 '^accept queue of 127.0.0.1:8080'",
        [r"accept queue of 127\.0\.0\.1:8080: \d+ of 4, [1-9]\d* dropped", r"at most 5, at \d\d:\d\d:\d\d\.\d{3}"],
        "15 clients were turned away while the process was stopped, at the time in the second line. The log has a"
        " WARN.",
        flags="--backlog 4",
        tuning={
            "nginx": {"listen": "backlog=4"},
            "haproxy": {"bind": "backlog 4"},
            "lighttpd": {"main": "server.listen-backlog = 4"},
        },
        peers=peers(
            NOTHING,
            NOTHING,
            NOTHING,
        ),
    ),
    Case(
        "loop-held",
        "A request for 13 bytes took long. What held the server up?",
        "{ printf '['; seq -s, 8000000; printf ']'; } >big.json\n"
        "curl -s -o /dev/null --data-binary @big.json 127.0.0.1:8080/users &\n"
        "curl -s -o /dev/null '127.0.0.1:8080/plaintext?[1-4000]'; wait",
        "grep ' behind ' access.log | tail -n 1",
        [r"200 GET /plaintext\?\d+ .* behind [\d.]+m?s c=\d+ POST /users"],
        "While the server checked 60 MB of JSON, it served nobody else. `/loop` has the longest drives of the last"
        " hour.",
        flags="--max-body-size 128MiB",
    ),
    Case(
        "stalled-disk",
        "Two files hang. Which one is on the slow disk, and which one only stands behind it?",
        "touch a.html b.html\ncurl -s 127.0.0.1:8080/b.html & sleep 0.2; curl -s 127.0.0.1:8080/a.html &",
        f"{CONNECTIONS} | grep -E '^c=|job '",
        [
            r"job      look-up /b.html, running for [1-4]\.\ds on tidemill-io-0",
            r"job      look-up /a.html, queued .* behind look-up /b.html, running for [1-4]\.\ds",
        ],
        "strace stands in for the disk. `/a.html` is innocent: the only thread waits for `/b.html`.",
        prefix="strace -D -f -o /dev/null -e inject=openat2:delay_enter=4s",
        flags="--io-threads 1 .",
        is_quick=False,
        peer_prefix=(
            "strace -D -f -o /dev/null -P {folder}/b.html -e inject=open,openat,openat2,stat,newfstatat:delay_enter=4s"
        ),
        tuning={"lighttpd": {"proxied": "/nowhere"}},
        peers=peers(
            None,
            None,
            Says("4 s for `/b.html`; 0.1 ms for `/a.html`, which had waited for as long", r"GET /b.html.* time=4\d{6}"),
        ),
    ),
    Case(
        "which-window",
        "A stream of HTTP/2 does not go on. Which window is shut?",
        "/usr/bin/python3 http2-client.py 127.0.0.1:8080 windows &",
        f"{CONNECTIONS} | grep -E '^c=|windows|s='",
        [r"s=1 GET /bytes/50000 .* stream-window for", r"s=1 GET /bytes/200000 .* connection-window for"],
        "The first client lets 10,000 bytes through on each stream, the second 65,535 on the whole connection, and none"
        " gives more.",
        is_http2=True,
        peers=peers(
            Says("`Writing: 3`: a number, with its own", r"Writing: 3 "),
            Says("`show sess all`: two sessions in `MSG_DATA`; no windows", r"rsp\.st=MSG_DATA[\s\S]*rsp\.st=MSG_DATA"),
            Says(
                "`server-status`: paths, and 10156 and 65657 bytes sent; no windows", r"10156/50156[\s\S]*|65657/200157"
            ),
        ),
    ),
    Case(
        "enhance-your-calm",
        "The client says ENHANCE_YOUR_CALM. What has it done?",
        "/usr/bin/python3 http2-client.py 127.0.0.1:8080 pings | sort | uniq -c",
        "grep GOAWAY server.log",
        [r"c=1: GOAWAY with 0 streams open: ENHANCE_YOUR_CALM", r"ledger: ping=100 glitches=(99|100)%"],
        "It sent 200 PINGs and nothing else. Each account of the ledger, its budget and its flag is in"
        " [http2.md](http2.md#the-ledger).",
        is_http2=True,
        peers=peers(
            Says("answers all 200 and says nothing", r"200 PingAck"),
            Says("answers all 200 and says nothing", r"200 PingAck"),
            Says("answers all 200 and says nothing", r"200 PingAck"),
        ),
    ),
    Case(
        "rapid-resets",
        "One client of HTTP/2 is slow, and all others are not. Why?",
        "/usr/bin/python3 http2-client.py 127.0.0.1:8080 resets &",
        f"{CONNECTIONS} | grep -E '^c=|ledger'",
        [r"http/2", r"ledger   resets (99|100)%.*reset-before-answer 150"],
        "It has reset 150 requests before they were answered. From the hundredth on its new streams are delayed, and"
        " the log has `delay` behind such a request.",
        is_http2=True,
        peers=peers(
            Says("150 × 499, and `client canceled stream` (info)", r"client canceled stream 299"),
            Says("150 × `CR--`", r"CR-- .*GET http://127.0.0.1:8080/delay/5000"),
            NOTHING,
        ),
    ),
    Case(
        "refused-stream",
        "Why does a client see REFUSED_STREAM?",
        "/usr/bin/python3 http2-client.py 127.0.0.1:8080 streams | sort | uniq -c",
        "grep REFUSED_STREAM access.log",
        [r"--- GET /delay/100 .* SSH server ended it \(RST_STREAM REFUSED_STREAM\)"],
        "It opened 12 streams before it knew that 10 are allowed. It may send these requests again.",
        flags="--http2-streams 10",
        is_http2=True,
        tuning={
            "nginx": {"http": "http2_max_concurrent_streams 10;"},
            "haproxy": {"global": "tune.h2.max-concurrent-streams 10"},
        },
        peers=peers(
            Says("`error.log` (info): `concurrent streams exceeded 10`", r"concurrent streams exceeded 10"),
            NOTHING,
            Says("–: it has served all 12", r"12 StreamEnded"),
        ),
    ),
    Case(
        "tls-version",
        "A client cannot connect over HTTPS. Why?",
        "openssl s_client -connect 127.0.0.1:8443 -tls1_1 -cipher 'ALL:@SECLEVEL=0' </dev/null >/dev/null 2>&1",
        "grep 'TLS:' server.log",
        [r"c=1: TLS: .*our alert: protocol_version"],
        "Our alert is `protocol_version`: it offered nothing newer than TLS 1.1. `/metrics` counts failed handshakes by"
        " alert.",
        flags="--listen https:127.0.0.1:8443 --tls-self-signed=tls",
        peers=peers(
            Says("`error.log` (info): `unsupported protocol`", r"unsupported protocol"),
            Says("`unsupported protocol`, with an `error-log-format` that asks for it", r"unsupported protocol"),
            Says("`unsupported protocol`", r"unsupported protocol"),
        ),
    ),
    Case(
        "tls-alpn",
        "A client cannot connect over HTTPS, although its version of TLS is a new one. Why?",
        "openssl s_client -connect 127.0.0.1:8443 -alpn spdy/3 </dev/null >/dev/null 2>&1",
        "grep 'TLS:' server.log",
        [r"c=1: TLS: .*our alert: no_application_protocol"],
        "With ALPN it offered only protocols that are not spoken here.",
        flags="--listen https:127.0.0.1:8443 --tls-self-signed=tls",
        peers=peers(
            Says("`error.log` (info): `no application protocol`", r"no application protocol"),
            Says("–: it goes on without ALPN", r"questions~ CR "),
            Says("`no application protocol`", r"no application protocol"),
        ),
    ),
    Case(
        "http-to-https",
        "curl says `Empty reply from server`, or `wrong version number`. Why?",
        "curl -s http://127.0.0.1:8443/\ncurl -s https://127.0.0.1:8080/",
        "grep -E 'HTTP|TLS' server.log | grep c=",
        [
            r"c=1: the client speaks HTTP without TLS, to a port for HTTPS",
            r"c=2 r=1: 400 Bad Request: this is a TLS handshake on a plain HTTP port; use http://",
        ],
        "Each spoke the protocol of the other port.",
        flags="--listen https:127.0.0.1:8443 --tls-self-signed=tls",
        peers=peers(
            Says(
                "`error.log` (info): `client sent plain HTTP request to HTTPS port`; `invalid method`, and the bytes",
                r"plain HTTP request to HTTPS port",
            ),
            Says(
                "`http request` in the handshake; `PR`, and `show errors` has the bytes", r"SSL routines::http request"
            ),
            Says(
                "`http request`; `unexpected TLS ClientHello on clear port`",
                r"unexpected TLS ClientHello on clear port",
            ),
        ),
    ),
    Case(
        "tls-silent",
        "Connections to the port for HTTPS come and go, and no request is logged. What are they?",
        "nc -d 127.0.0.1 8443 &",
        "grep 'TLS' server.log",
        [r"c=1: .*TLS.*(handshake|timeout)"],
        "The client has connected, and said nothing until the time for the handshake was over: a health check,"
        " perhaps.",
        flags="--listen https:127.0.0.1:8443 --tls-self-signed=tls --tls-handshake-timeout 400ms",
        tuning={
            "nginx": {"http": "client_header_timeout 400ms;"},
            "haproxy": {"client": "400ms"},
            "lighttpd": {"main": "server.max-read-idle = 1"},
        },
        peers=peers(
            Says("`error.log` (info): `client timed out … while SSL handshaking`", r"while SSL handshaking"),
            Says("`Timeout during SSL handshake`", r"Timeout during SSL handshake"),
            NOTHING,
        ),
    ),
    Case(
        "capture",
        "What was said on this connection over TLS? Nobody has a key log, and I am not root.",
        "curl -sS -o /dev/null --cacert tls/cert.pem https://localhost:8443/plaintext",
        "tshark -r site.pcapng -Y http2.header -T fields -e frame.number -e http2.headers.method -e http2.headers.path"
        " -e http2.headers.status 2>/dev/null",
        [r"^\d+\tGET\t/plaintext", r"^\d+\t\t\t200"],
        "The server writes down what it has read and written, and the keys beside it ([capture.md](capture.md)).",
        flags="--listen https:127.0.0.1:8443 --tls-self-signed=tls --pcapng site.pcapng",
    ),
    Case(
        "websocket-close",
        "A WebSocket was closed. Who closed it, with which code?",
        "/usr/bin/python3 tcp-client.py 127.0.0.1:8080 websocket",
        "grep Close access.log",
        [r"101 GET /ws/echo .* Close 4000 from the client \(moving on\), 4000 from the server"],
        "The client closed first, with 4000 and a reason; the server answered with the same code.",
        peers=peers(
            Says("101, bytes and time", r"GET /ws/echo HTTP/1.1. 101 "),
            Says("101, bytes and time, `----`", r" 101 \d+ - - ---- "),
            Says("101 and bytes", r"GET /ws/echo.* 101 "),
        ),
    ),
    Case(
        "bad-request",
        "The client gets 400. What is wrong with its request?",
        "printf 'GET / HTTP/1.1\\r\\nHost : a\\r\\n\\r\\n' | nc -q 1 127.0.0.1 8080",
        "grep ' 400 ' server.log",
        [r"c=1 r=1: 400 Bad Request: whitespace between a field name and its colon \(RFC 9112 §5.1\)"],
        "Each refusal names the rule and where it stands.",
        peers=peers(
            Says(
                '`error.log` (info): `client sent invalid header line: "Host\\x20..."`',
                r"client sent invalid header line",
            ),
            Says("`PR` or `CR`, and `show errors` has the request", r"[PC]R [\s\S]*Host : a"),
            Says("400, and with `debug.log-request-header-on-error` the head", r"rqst: Host : a"),
        ),
    ),
    Case(
        "websocket-silent",
        "WebSockets break off after a minute. Who ends them?",
        "/usr/bin/python3 tcp-client.py 127.0.0.1:8080 websocket-silent",
        "grep Close access.log",
        [r"101 GET /ws/echo .* Close 1011 from the server"],
        "The client has answered no Ping, as happens behind a sleeping laptop or a NAT that has forgotten it. Both"
        " times are `--ws-ping-interval`, usually 30 s.",
        flags="--ws-ping-interval 300ms",
        tuning={
            "nginx": {"http": "proxy_read_timeout 1s;"},
            "haproxy": {"tunnel": "1s"},
            "lighttpd": {"main": "server.max-read-idle = 1\nserver.max-write-idle = 1"},
        },
        peers=peers(
            Says(
                "`error.log`: `upstream timed out … while proxying upgraded connection`",
                r"while proxying upgraded connection",
            ),
            Says("101, and `cD`: a timeout of the client during data", r" 101 \d+ - - .D-- "),
            Says("101, `X` (aborted) and 2 s", r"GET /ws/echo.* 101 .*keep=X"),
        ),
    ),
    Case(
        "refused",
        "The client gets 431 or 414. Which limit was it?",
        'curl -s -o /dev/null -H "X: $(printf %020000d 0)" 127.0.0.1:8080/\n'
        "curl -s -o /dev/null 127.0.0.1:8080/$(printf %09000d 0)",
        "grep -E ' (414|431) ' server.log",
        [r" 431 .*: the fields are longer than", r" 414 .*: "],
        "The log names the rule for each, and the flags are `--max-header-size` and `--max-target-size`.",
        peers=peers(
            Says("`error.log` (info): `client sent too long header line`, `too long URI`", r"too long URI"),
            Says("400 and `PR--`, and `show errors` has the request; it passes the long target on", r"PR"),
            Says("`oversized request-header`, both times", r"oversized request-header"),
        ),
    ),
    Case(
        "too-large",
        "An upload gets 413. What is the limit, and whose is it?",
        "head -c 2000000 /dev/zero >big\ncurl -s --data-binary @big 127.0.0.1:8080/users >answer",
        "cat answer",
        [r'^\{"error":"content_too_large","limit":1048576\}'],
        "Only what a handler must hold in memory is limited (`--max-body-size`), and the answer has the limit in bytes."
        " What streams through, as to `/echo`, is not. A 413 that looks otherwise comes from a proxy in between.",
        peers=peers(
            Says(
                "413; `error.log`: `client intended to send too large body: 2000000 bytes`", r"too large body: 2000000"
            ),
            Says("413; not whose limit", r" 413 \d+ - - "),
            Says("413; not whose limit", r"POST /users.* 413 "),
        ),
    ),
    Case(
        "shutdown",
        "The server is told to stop, and does not end. What keeps it?",
        "curl -siN '127.0.0.1:8080/drip?bytes=40&over=20s' >got &"
        " until [ -s got ]; do sleep 0.01; done; kill -TERM $SERVER",
        CONNECTIONS,
        [r"connections: 1, 1 timer", r"request  r=1 GET /drip\?bytes=40&over=20s"],
        "The admin listener stays open until the end. One response is still to be sent.",
        peers=peers(
            Says("`gracefully shutting down`; the status page is gone", r"gracefully shutting down"),
            Says("`Proxy … stopped`; the socket for `show sess` is gone", r"Proxy questions stopped"),
            Says("`graceful shutdown started`; the status page is gone", r"graceful shutdown started"),
        ),
    ),
    Case(
        "cut-at-the-end",
        "The exit code was 3. Who was cut?",
        "curl -siN '127.0.0.1:8080/drip?bytes=40&over=20s' >got &"
        " until [ -s got ]; do sleep 0.01; done; kill -TERM $SERVER",
        "grep cut server.log",
        [r"the drain deadline has come: 1 connections are cut", r"c=1 r=1: cut: GET /drip\?bytes=40&over=20s after"],
        "The response needed longer than the drain timeout, which is 0.5 s here and usually 30 s.",
        flags="--drain-timeout 500ms",
        tuning={
            "nginx": {"main": "worker_shutdown_timeout 500ms;"},
            "haproxy": {"global": "hard-stop-after 500ms"},
            "lighttpd": {"main": 'server.feature-flags = ("server.graceful-shutdown-timeout" => 1)'},
        },
        peers=peers(
            Says("200, no bytes sent, no `OK`", r"GET /drip.* 200 sent=0 .*completion= "),
            Says("`KD--`: killed during data, with the request", r" KD-- .*GET /drip"),
            Says("200 and `X`, with the request", r"GET /drip.* 200 .*keep=X"),
        ),
    ),
    Case(
        "full",
        "New connections hang, and the loop is idle. Why?",
        "/usr/bin/python3 tcp-client.py 127.0.0.1:8080 crowd 7 &",
        "grep WARN server.log",
        [r"all connections allowed are in use: new ones wait \(--max-connections 4\)"],
        "Four clients have all the connections that are allowed, and say nothing.",
        flags="--max-connections 4",
        tuning={
            "nginx": {"connections": 6},
            "haproxy": {"frontend": "maxconn 4"},
            "lighttpd": {"main": "server.max-connections = 4"},
        },
        peers=peers(
            Says(
                "`worker_connections are not enough`; it closes idle ones for new ones",
                r"worker_connections are not enough",
            ),
            Says("`CurrConns: 4`; the `maxconn` of a frontend that was reached is not logged", r"CurrConns: 4"),
            Says("`sockets disabled, connection limit reached`", r"connection limit reached"),
        ),
    ),
    Case(
        "descriptors",
        "How many connections can there be, and what bounds it?",
        "/usr/bin/python3 tcp-client.py 127.0.0.1:8080 crowd 60 &",
        "grep WARN server.log",
        [r"all connections allowed are in use"],
        "The limit of open files bounds the connections.",
        prefix="prlimit --nofile=64",
        peer_prefix="prlimit --nofile=64",
        peers=peers(
            Says("`accept4() failed (24: Too many open files)`", r"Too many open files"),
            None,
            Says("`sockets disabled, connection limit reached`", r"connection limit reached"),
        ),
    ),
    Case(
        "forty-ms",
        "Every POST of one client takes 40 ms. Why?",
        "/usr/bin/python3 tcp-client.py 127.0.0.1:8080 segments",
        "tail -n 1 access.log",
        [r"200 POST /users .* [4-9]\dms .*  content [3-9]\dms"],
        "All of the time went by waiting for `content`. The client sends it and the head by `send` calls of their own"
        " and has not set TCP_NODELAY. Nagle's algorithm keeps the rest until the first part is acknowledged, and the"
        " kernel here acknowledges after 40 ms (delayed ACK).",
        peers=peers(
            Says(
                "`time=0.044`, of which the upstream took 0.000",
                r"POST /users.* time=0\.04\d upstream=200,0.000,0.000,0.000",
            ),
            Says("–: it acknowledges at once, so there is no delay", r"the last one took \d ms"),
            Says("43.9 ms; not where", r"POST /users.* time=4\d{4} us"),
        ),
    ),
    Case(
        "not-modified",
        "Why is it a 304, and why not?",
        "echo 'a{}' >a.css; touch -d 2026-01-01T00:00:00Z a.css",
        "tidemill explain -H 'If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT' -H 'If-None-Match: \"x\"' 'GET /a.css'"
        " . | grep -E '^(conditional|answer)'",
        [r"conditional .*If-Modified-Since is not looked at beside If-None-Match", r"answer +200 OK"],
        "The tag is another one, and beside a tag the date does not count. Without If-None-Match it would be a 304.",
    ),
    Case(
        "not-compressed",
        "Why is this file not compressed?",
        "head -c 5000 /dev/zero >a.css; cp a.css a.png",
        "tidemill explain -H 'Accept-Encoding: gzip' 'GET /a.png' . | grep -E '^(coding|forms)'",
        [r"forms +identity; image/png is not compressed", r"coding +identity, 5000 bytes"],
        "`tidemill explain` decides with the functions of the server ([explain.md](explain.md)). Only types that get"
        " smaller are compressed.",
    ),
    Case(
        "whose-field",
        "Where does this Cache-Control come from?",
        "touch a.css",
        "tidemill explain --cache-control max-age=60 --header '*.css Cache-Control: no-store' 'GET /a.css' . | grep -E"
        " '^field|Cache'",
        [r"field +Cache-Control: no-store, for \*\.css", r"^Cache-Control: no-store"],
        "Of several rules for one field the last one counts.",
    ),
    Case(
        "forwarded",
        "All requests seem to come from the proxy. Who is the client?",
        "curl -s -o /dev/null -H 'X-Forwarded-For: 203.0.113.7' 127.0.0.1:8080/plaintext",
        "tail -n 1 access.log",
        [r"200 GET /plaintext .*203\.0\.113\.7"],
        "The peer is a proxy that is trusted, so its field names the client.",
        flags="--trusted-proxy 127.0.0.1",
        peers=peers(
            Says("the field, if the format has it; `realip` replaces the peer", r"203\.0\.113\.7"),
            Says("the field, if it is captured", r"203\.0\.113\.7"),
            Says("the field, if the format has it; `mod_extforward` replaces the peer", r"203\.0\.113\.7"),
        ),
    ),
    Case(
        "idle-ends",
        "Connections end without a request. Who ends them?",
        "nc -d 127.0.0.1 8080 & /usr/bin/python3 tcp-client.py 127.0.0.1:8080 idle",
        f"{METRICS} | grep '^tidemill_connection_verdicts'",
        [r'verdict="STA".*\} 1$', r'verdict="STI".*\} 1$'],
        "Both are timeouts of the server: one before the first byte, and one between requests.",
        flags="--first-byte-timeout 400ms --keep-alive-timeout 400ms",
        tuning={
            "nginx": {"http": "client_header_timeout 400ms; keepalive_timeout 400ms;"},
            "haproxy": {"defaults": "timeout http-request 400ms\n    timeout http-keep-alive 400ms"},
            "lighttpd": {"main": "server.max-read-idle = 1\nserver.max-keep-alive-idle = 1"},
        },
        peers=peers(
            Says(
                "`client timed out … while waiting for request` (info) for the first; nothing for the second",
                r"while waiting for request",
            ),
            Says("`cR` for the first; nothing for the second", r"questions cR "),
            NOTHING,
        ),
    ),
    Case(
        "handler-failed",
        "What is behind this 500?",
        "curl -s 127.0.0.1:8080/error",
        "grep ERROR server.log",
        [r"c=1 r=1: .*"],
        "The client gets no details; the log has them, with the connection and the request.",
        peers=peers(
            Says("500, and that the upstream said it", r" 500 .*upstream=500"),
            Says("500 and `----`", r" 500 \d+ - - ---- "),
            Says("500", r"GET /error.* 500 "),
        ),
    ),
    Case(
        "goaway",
        "The connection of HTTP/2 ends with GOAWAY. Why?",
        "curl -siN --http2-prior-knowledge '127.0.0.1:8080/drip?bytes=3&over=3s' >got &"
        " until [ -s got ]; do sleep 0.01; done; kill -TERM $SERVER",
        f"{CONNECTIONS} | grep goaway",
        [r"goaway .*NO_ERROR.*the server stops"],
        "The server stops, and serves what has begun.",
        is_http2=True,
        is_quick=False,
        peers=peers(
            Says("`gracefully shutting down`", r"gracefully shutting down"),
            Says("`Proxy … stopped`", r"Proxy questions stopped"),
            Says("`graceful shutdown started`", r"graceful shutdown started"),
        ),
    ),
]
