// Puts a server whose figures are as long as they get in place of the one that the live page listens to.
(() => {
  const phases = ["poll", "collect", "run", "expire", "accept", "reap"];
  const calls = ["epoll_wait", "epoll_ctl", "accept4", "recvfrom", "writev", "sendfile", "clock_gettime", "netlink"];
  const waits = ["client-silent", "client-idle", "client-slow-head", "client-slow-read", "job-pool", "conversation"];
  const each = (names, value) => Object.fromEntries(names.map(name => [name, value]));
  const minutes = 60e6, long = 59 * minutes + 59e6, line = `GET /${"very-long/".repeat(30)} HTTP/1.1`;
  const spread = half => ({
    count: half, total_us: half * (7 * minutes + 39e6), p50_us: 999_900, p90_us: 999_900, p99_us: 99_900, p999_us: long,
    max_us: 23.9 * 60 * minutes,
  });
  const streams = [1, 3, 5, 7].map(nth => ({
    stream: 2147483640 + nth, line, wait: "connection-window", waited_ms: long / 1000, may_send: -2147483648,
    may_receive: 2147483647, state: "half-closed (remote)", status: 200, sent: 2 ** 50, queued: 2 ** 40,
  }));
  const client = {
    connection: 1234567890, request: 1234567, peer: "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535", line,
    protocol: "http/2", wait: "client-slow-read", state: "writing the response", waited_ms: long / 1000, left_ms: long / 1000,
    received: 12.3 * 2 ** 30, sent: 1023 * 2 ** 40, paused_ms: long / 1000, blocked_ms: 123456789, interest: "read write",
    http2: { streams, streams_total: 1000, may_send: 4294967295, may_receive: 2147483647 },
  };
  const culprit = { cause: "vanished", held_ms: long / 1000, on: client, kernel: `silent for 3599.9s: ${"words ".repeat(20)}` };
  const finding = (severity, kind) => ({
    severity, kind, text: `c=1234567890 is blocked for 3599.9s by its reader: ${line}`, advice: "raise --max-connections, or else",
    connection: 1234567890, stream: 2147483647,
  });
  const findings = ["a", "b", "c", "d", "e", "f", "g", "h"].map(kind => finding("warning", kind));
  const counts = { "a-name-that-is-long-enough-to-be-broken-in-a-narrow-window": 1234567890 };
  const second = ago => ({
    ago_ms: ago * 1000, lasted_ms: 1000, requests: 888888, errors: 88888, sent_bytes: 2 ** 40, p99_us: long, busy: 1,
  });
  const minute = {
    span_ms: 60000, requests: 60 * 888888, classes: each(["none", "1xx", "2xx", "3xx", "4xx", "5xx"], 888888), busy: 1,
    latency: spread(1), received_bytes: 1023 * 2 ** 40, sent_bytes: 1023 * 2 ** 40, accepted: 1234567,
    seconds: Array.from({ length: 60 }, (_, at) => second(60 - at)), timeouts: counts,
    disturbed: [{ verdict: "CFW", means: "client: FIN, while the handler worked", count: 1234567890 }],
    tls: { handshakes: 1234567890, failures: counts }, http2: { goaways: counts, resets_by_client: counts, delayed_streams: 9 },
  };
  const event = half => ({
    at: "2026-11-27T18:25:00.000Z", uptime_ms: half * 500, requests: half * 444444, sent_bytes: half * 511.4 * 2 ** 30,
    latency: spread(half), lag: spread(half), turn: { count: half * 444444 }, minute, findings, headline: findings[0].text,
    connections: 1234567, connections_max: 1234567,
    accept_queues: [{ address: "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535", depth: 4097, limit: 4096, drops: 4294967295 }],
    phases: each(phases, { total_us: half * 83000 }), waits: each(waits, 1234567), paused: 1234567, blocked: 1234567,
    disturbed: [1, 2].map(nth => ({
      ago_ms: long / 1000, connection: 1234567890, request: `s=${nth}147483647`, line, verdict: "CFW", text: "words ".repeat(30),
    })),
    syscalls: each(calls, half * 617283), draining: null,
    longest: [1, 2, 3, 4, 5].map(at => ({ ago_ms: 10000 * at, took_us: 999_900, connection: 1234567890, line })),
    culprits: [{ ...culprit }, { ...culprit, on: { ...client, connection: 1234567891 } }], culprits_total: 1234567,
  });
  window.EventSource = class {
    constructor() {
      let half = 0;
      setInterval(() => this.onmessage({ data: JSON.stringify(event(++half)) }), 50);
    }
  };
})();
