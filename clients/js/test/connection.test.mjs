import { test } from "node:test";
import assert from "node:assert/strict";
import { clock } from "../fake/clock.mjs";
import { Connection, connect } from "../index.js";
import { Addresses } from "../addresses.js";
import { Turns } from "../turns.js";

// A world with its own clock and sockets that do what the test says.
function world(options = {}) {
  const time = clock();
  const sockets = [];
  const statuses = [];
  const messages = [];
  class Fake {
    constructor(url, protocols) {
      Object.assign(this, { url, protocols, readyState: 0, sent: [] });
      sockets.push(this);
    }
    open() {
      this.readyState = 1;
      this.onopen();
    }
    send(data) {
      this.sent.push(data);
    }
    close(code) {
      this.readyState = 3;
      this.closed = code ?? 1005;
    }
    drop(code, reason = "") {
      this.readyState = 3;
      this.onclose({ code, reason });
    }
  }
  const w = {
    sockets, statuses, messages, visible: true,
    last: () => sockets.at(-1),
    phase: () => w.connection.status.phase,
    timers: time.pending,
    advance: time.advance,
  };
  const env = {
    WebSocket: Fake,
    now: time.now,
    random: () => 0.5,
    setTimeout: time.setTimeout,
    clearTimeout: time.clearTimeout,
    visible: () => w.visible,
    ...(options.turns && { turns: options.turns }),
    ...(options.addresses && { addresses: options.addresses }),
  };
  w.connection = connect(options.url ?? "ws://x/y", { env, onStatus: (s) => statuses.push(s), onMessage: (d) => messages.push(d), ...options });
  return w;
}

test("without a WebSocket, as in node before 22, connect says where to get one", () => {
  assert.throws(() => connect("ws://x/y", { env: { WebSocket: undefined } }), /node has one since version 22.*env: { WebSocket }/);
});

test("to be opened is enough where nobody greets", () => {
  const w = world({ protocols: ["a"] });
  assert.equal(w.phase(), "connecting");
  assert.equal(w.connection.send("x"), false);
  w.last().open();
  assert.equal(w.phase(), "open");
  assert.equal(w.connection.send("x"), true);
  assert.deepEqual([w.last().sent, w.last().protocols], [["x"], ["a"]]);
  w.last().onmessage({ data: "hello" });
  assert.deepEqual(w.messages, ["hello"]);
});

test("without a heartbeat nothing is sent and silence is no loss", () => {
  const w = world();
  w.last().open();
  w.advance(3600e3);
  assert.deepEqual([w.last().sent, w.phase(), w.sockets.length], [[], "open", 1]);
});

test("a heartbeat that goes unanswered is a loss", () => {
  const w = world({ heartbeat: { ping: () => "ping", isPong: (data) => data === "pong" } });
  w.last().open();
  w.last().onmessage({ data: "pong" });
  w.advance(1000);
  assert.deepEqual(w.last().sent, ["ping", "ping"]);
  w.advance(1500);
  assert.equal(w.connection.status.silent, true);
  w.advance(6500);
  assert.equal(w.phase(), "waiting");
  assert.equal(w.sockets[0].closed, 1005);
});

test("each phase hears only what leads out of it", () => {
  const w = world();
  w.connection.retry(); // connecting already
  assert.equal(w.sockets.length, 1);
  w.last().open();
  w.connection.retry(); // open already
  assert.equal(w.sockets.length, 1);
  w.last().drop(4403);
  assert.equal(w.phase(), "refused");
  w.connection.probe(true);
  w.advance(3600e3);
  assert.equal(w.sockets.length, 1);
  w.connection.close();
  w.connection.close();
  assert.deepEqual(w.statuses.map((s) => s.phase), ["connecting", "open", "refused", "closed"]);
  w.connection.retry();
  assert.equal(w.sockets.length, 2);
});

test("close ends everything: no timer is left, and no late close brings it back", () => {
  const w = world();
  const first = w.last();
  first.open();
  w.connection.close(1000, "bye");
  assert.deepEqual([first.closed, w.phase(), w.timers()], [1000, "closed", 0]);
  first.drop(1006);
  w.advance(60e3);
  assert.deepEqual([w.phase(), w.sockets.length], ["closed", 1]);
});

test("clients that lost one gateway come back spread out", () => {
  const waits = Array.from({ length: 100 }, (_, k) => {
    const w = world({ watch: false });
    w.connection.env.random = () => k / 100;
    w.last().open();
    w.last().drop(1006);
    return w.connection.status.retryAt;
  });
  assert.equal(new Set(waits).size, 100);
  assert.ok(Math.max(...waits) <= 250 && Math.min(...waits) === 0);
});

test("a connection that was never opened is closed", () => {
  const c = new Connection("ws://x/y");
  assert.equal(c.status.phase, "closed");
  c.close();
  assert.equal(c.send("x"), false);
});

test("connections of a page shake hands in turn", () => {
  const turns = new Turns(2);
  const [a, b, c, d] = Array.from({ length: 4 }, () => world({ turns }));
  const dialled = () => [a, b, c, d].map((w) => w.sockets.length);
  assert.deepEqual(dialled(), [1, 1, 0, 0]);
  assert.equal(c.phase(), "connecting");
  a.last().open();
  assert.deepEqual(dialled(), [1, 1, 1, 0], "who is open shakes no hands");
  a.last().drop(1006);
  assert.deepEqual(dialled(), [1, 1, 1, 0], "and its end ends no other's turn");
  b.advance(8000); // nobody answers
  assert.deepEqual(dialled(), [1, 1, 1, 1]);
});

test("who leaves while others shake hands has no turn", () => {
  const turns = new Turns(1);
  const [a, b, c] = Array.from({ length: 3 }, () => world({ turns }));
  b.connection.close();
  a.last().drop(1011);
  assert.deepEqual([a, b, c].map((w) => w.sockets.length), [1, 0, 1]);
});

test("a URL that is none is refused, and others go on", async () => {
  const turns = new Turns(1);
  assert.throws(() => world({ turns, url: () => assert.fail("no URL") }), /no URL/);
  await Promise.resolve();
  assert.equal(world({ turns }).sockets.length, 1);
});

test("who has lost one gateway comes back at another", () => {
  const w = world({ url: ["ws://a/room", "ws://b/room"], addresses: new Addresses() });
  const at = w.last().url;
  w.last().open();
  w.advance(60e3);
  w.last().drop(1006);
  w.advance(250);
  assert.deepEqual(new Set([at, w.last().url]), new Set(["ws://a/room", "ws://b/room"]));
});

test("where all gateways are lost, the one that there is is tried again", () => {
  const w = world({ url: () => ["ws://a/room"], addresses: new Addresses() });
  w.last().drop(1006);
  w.advance(250);
  assert.deepEqual(w.sockets.map((s) => s.url), ["ws://a/room", "ws://a/room"]);
});

test("what an object says is no failure of its gateway", () => {
  const w = world({ url: ["ws://a/room", "ws://b/room"], addresses: new Addresses() });
  for (const code of [1011, 4429, 4403]) {
    w.last().open();
    w.last().drop(code);
    w.connection.retry();
  }
  assert.deepEqual(w.sockets.map((s) => s.url), Array(4).fill("ws://b/room"));
});

test("who is open, or has left, shakes no hands with an address", () => {
  const known = new Addresses();
  const options = { url: ["ws://a/room", "ws://b/room"], addresses: known };
  const [w, left] = [world(options), world(options)];
  assert.deepEqual([w.last().url, left.last().url], ["ws://b/room", "ws://a/room"]);
  w.last().open();
  left.connection.close();
  assert.deepEqual([world(options), world(options)].map((one) => one.last().url), ["ws://b/room", "ws://a/room"]);
});

test("no URL at all is refused", () => {
  const w = world();
  w.connection.close();
  w.connection.url = [];
  assert.throws(() => w.connection.retry(), /no URL/);
  assert.equal(w.phase(), "refused");
});
