// Puts a server whose figures are as long as they get in place of the one that the live page listens to.
(() => {
  const phases = ["poll", "collect", "run", "expire", "accept", "reap"];
  const calls = ["epoll_wait", "epoll_ctl", "accept4", "recvfrom", "writev", "sendfile", "clock_gettime", "netlink"];
  const waits = ["client-silent", "client-idle", "client-slow-head", "client-slow-read", "job-pool", "conversation"];
  const each = (names, value) => Object.fromEntries(names.map(name => [name, value]));
  const minutes = 60e6, long = 59 * minutes + 59e6, line = `GET /${"very-long/".repeat(30)} HTTP/1.1`;
  const spread = half => ({
    count: half, total_us: half * (7 * minutes + 39e6), p50_us: 999_900, p99_us: 99_900, p999_us: long, max_us: 23.9 * 60 * minutes,
  });
  const client = {
    connection: 1234567890, request: 1234567, peer: "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535", line,
    wait: "client-slow-read", state: "writing the response", waited_ms: long / 1000, left_ms: long / 1000,
    received: 12.3 * 2 ** 30, sent: 1023 * 2 ** 40, paused_ms: long / 1000, blocked_ms: 123456789,
  };
  const event = half => ({
    uptime_ms: half * 500, requests: half * 444444, sent_bytes: half * 511.4 * 2 ** 30,
    latency: spread(half), lag: spread(half), turn: { count: half * 444444 },
    phases: each(phases, { total_us: half * 83000 }), waits: each(waits, 1234567), paused: 1234567, blocked: 1234567,
    syscalls: each(calls, half * 617283), draining: true,
    longest: [1, 2, 3, 4, 5].map(at => ({ ago_ms: 10000 * at, took_us: 999_900, connection: 1234567890, line })),
    slowest: [{ ...client }, { ...client, connection: 1234567891 }],
  });
  window.EventSource = class {
    constructor() {
      let half = 0;
      setInterval(() => this.onmessage({ data: JSON.stringify(event(++half)) }), 50);
    }
  };
})();
