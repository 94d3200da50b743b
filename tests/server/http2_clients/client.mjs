// What Node.js makes of a server: node client.mjs URL. Ends with an error that says what is wrong.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import http2 from "node:http2";

// With less, Node.js resets a stream for which 10 MB wait to be sent.
const client = http2.connect(process.argv[2], { rejectUnauthorized: false, maxSessionMemory: 100 });
client.on("error", error => { throw error; });
const settings = await new Promise(resolve => client.on("remoteSettings", resolve));

/** All that comes of a request: head, interim heads, content, trailers, code of RST_STREAM. */
function ask(headers, content) {
  return new Promise((resolve, reject) => {
    const stream = client.request(headers);
    const answer = { interim: [], pieces: [] };
    stream.on("headers", head => answer.interim.push(head));
    stream.on("response", head => { answer.head = head; });
    stream.on("trailers", trailers => { answer.trailers = trailers; });
    stream.on("data", piece => answer.pieces.push(piece));
    stream.on("error", reject);
    stream.on("close", () => resolve({ ...answer, content: Buffer.concat(answer.pieces), code: stream.rstCode }));
    if (content !== undefined) stream.end(content);
  });
}

const get = path => ask({ ":path": path });
const post = (path, content) => ask({ ":method": "POST", ":path": path }, content);

async function simple() {
  let answer = await get("/plaintext");
  assert.equal(answer.head[":status"], 200);
  assert.equal(`${answer.content}`, "Hello, World!");
  answer = await ask({ ":method": "HEAD", ":path": "/plaintext" });
  assert.deepEqual([answer.head["content-length"], answer.content.length], ["13", 0]);
  answer = await get("/hints");
  assert.deepEqual(answer.interim.map(head => [head[":status"], head.link]), [[103, "</style.css>; rel=preload; as=style"]]);
  answer = await get("/trailers");
  assert.equal(answer.trailers["x-lines"], "3");
}

async function parallel() {
  const content = randomBytes(10 << 20);
  assert((await post("/echo", content)).content.equals(content));
  const users = await Promise.all(Array.from({ length: 1000 }, (_, id) => get(`/users/${id}`)));
  users.forEach((answer, id) => assert.equal(`${answer.content}`, `{"user_id":"${id}"}`));
  const parts = Array.from({ length: 50 }, (_, part) => content.subarray(0, part * 20011));
  const echoes = await Promise.all(parts.map(part => post("/echo", part)));
  echoes.forEach((answer, at) => assert(answer.content.equals(parts[at])));
}

async function bothDirections() {
  await new Promise((resolve, reject) => {
    const stream = client.request({ ":method": "POST", ":path": "/echo" });
    let round = 0, received = "";
    stream.on("data", piece => {
      received += piece;
      if (!`round ${round}`.startsWith(received)) reject(new Error(`${received} in round ${round}`));
      if (received !== `round ${round}`) return;
      received = "";
      if (++round < 100) stream.write(`round ${round}`);
      else stream.end();
    });
    stream.on("error", reject);
    stream.on("close", () => resolve());
    stream.write("round 0");
  });
  const stream = client.request({ ":method": "POST", ":path": "/echo", expect: "100-continue" });
  stream.setEncoding("utf8");
  await new Promise((resolve, reject) => stream.on("continue", resolve).on("response", reject));
  stream.end("behind the 100");
  assert.equal((await stream.toArray()).join(""), "behind the 100");
  const refused = client.request({ ":method": "POST", ":path": "/plaintext", expect: "100-continue" });
  const status = await new Promise((resolve, reject) => refused.on("continue", reject).on("response", resolve));
  assert.equal(status[":status"], 405);
  refused.resume().end();
  const trailing = client.request({ ":method": "POST", ":path": "/echo" }, { waitForTrailers: true });
  trailing.on("wantTrailers", () => trailing.sendTrailers({ "x-sum": "1" }));
  trailing.end("with trailers");
  assert.equal(`${Buffer.concat(await trailing.toArray())}`, "with trailers");
}

async function aborts() {
  const paths = Array.from({ length: 60 }, (_, at) => (at % 2 ? "/bytes/100000000" : "/sse?every=10ms"));
  await Promise.all(paths.map(path => new Promise(resolve => {
    const stream = client.request({ ":path": path });
    stream.on("data", () => stream.close(http2.constants.NGHTTP2_CANCEL));
    stream.on("error", () => {});
    stream.on("close", resolve);
  })));
  const payload = Buffer.from("12345678");
  const echoed = await new Promise((resolve, reject) =>
    client.ping(payload, (error, _, back) => (error ? reject(error) : resolve(back))));
  assert(echoed.equals(payload));
}

async function windows() {
  await new Promise(resolve => client.settings({ initialWindowSize: 1000, headerTableSize: 0 }, resolve));
  assert.equal((await get("/bytes/100000")).content.length, 100000);
  await new Promise(resolve => client.settings({ initialWindowSize: 1 << 24, headerTableSize: 4096 }, resolve));
  assert.equal((await get("/bytes/3000000")).content.length, 3000000);
}

/** A WebSocket frame of a client (RFC 6455 §5.2), of at most 125 bytes. */
function frame(opcode, payload) {
  const mask = randomBytes(4);
  const masked = Buffer.from(payload).map((byte, at) => byte ^ mask[at % 4]);
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | masked.length]), mask, masked]);
}

async function tunnel() {
  assert.equal(settings.enableConnectProtocol, true);
  const fields = { ":method": "CONNECT", ":protocol": "websocket", ":path": "/ws/echo", "sec-websocket-version": "13" };
  const stream = client.request(fields, { endStream: false });
  const head = await new Promise(resolve => stream.on("response", resolve));
  assert.equal(head[":status"], 200);
  stream.write(frame(1, "tide"));
  let received = "";
  stream.setEncoding("latin1");
  stream.on("data", piece => {
    received += piece;
    if (received === "\x81\x04tide") stream.write(frame(8, [3, 232]));
  });
  await new Promise(resolve => stream.on("end", resolve));
  assert.equal(received, "\x81\x04tide\x88\x02\x03\xe8");
  stream.end();
}

for (const part of [simple, parallel, bothDirections, aborts, windows, tunnel]) await part();
await new Promise(resolve => client.close(resolve));
