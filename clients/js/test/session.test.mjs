import { test } from "node:test";
import assert from "node:assert/strict";
import { clock } from "../fake/clock.mjs";
import { connect } from "../index.js";
import { escapeMessage, readMessage } from "../session.js";

// A connection that comes back, in a world of its own.
function world(options = {}) {
  const time = clock();
  const w = { sockets: [], messages: [], gaps: [], advance: time.advance, last: () => w.sockets.at(-1), phase: () => w.connection.status.phase };
  class Fake {
    constructor(url, protocols) {
      Object.assign(this, { url, protocols, readyState: 0, sent: [] });
      w.sockets.push(this);
    }
    open() {
      this.readyState = 1;
      this.onopen();
    }
    hello(h) {
      this.open();
      this.hear("\0h" + JSON.stringify(h));
    }
    hear(data) {
      this.onmessage({ data });
    }
    send(data) {
      this.sent.push(data);
    }
    close(code) {
      this.readyState = 3;
      this.closed = code ?? 1005;
    }
    drop(code) {
      this.readyState = 3;
      this.onclose({ code, reason: "" });
    }
  }
  const env = { WebSocket: Fake, now: time.now, random: () => 0.5, setTimeout: time.setTimeout, clearTimeout: time.clearTimeout, visible: () => true };
  w.connection = connect("ws://x/y", { resume: true, watch: false, env, onMessage: (d) => w.messages.push(d), onGap: (g) => w.gaps.push(g), ...options });
  return w;
}

test("what was counted is said on the way back, and what nobody has taken is sent again", () => {
  const w = world({ protocols: "game.1" });
  assert.deepEqual(w.last().protocols, ["holdfast.1", "game.1"]);
  w.last().open();
  assert.deepEqual([w.phase(), w.connection.send("early")], ["connecting", false]);
  w.last().hear("\0h" + JSON.stringify({ token: "s.id-1", time: 30000, subprotocol: "game.1", auto: "ping" }));
  assert.deepEqual([w.phase(), w.connection.protocol], ["open", "game.1"]);
  for (const data of ["one", "\0\0two", "\0upong", "three"]) w.last().hear(data);
  assert.deepEqual(w.messages, ["one", "\0two", "pong", "three"]);
  for (const data of ["a", "ping", "\0b", "c"]) assert.equal(w.connection.send(data), true);
  assert.deepEqual(w.last().sent, ["\0p", "a", "ping", "\0\0b", "c"]);
  w.last().drop(1006);
  w.advance(125);
  assert.deepEqual(w.last().protocols, ["holdfast.1", "holdfast.resume.3.s.id-1", "game.1"]);
  w.last().hello({ token: "s.id-1", time: 30000, back: true, from: 3, taken: 1, auto: "ping" });
  assert.deepEqual(w.last().sent.filter((d) => d !== "\0p"), ["\0\0b", "c"]);
  w.last().hear("four");
  w.last().hear("\0a3");
  w.last().drop(1012);
  w.advance(250);
  assert.deepEqual(w.last().protocols[1], "holdfast.resume.4.s.id-1");
  w.last().hello({ token: "s.id-1", back: true, from: 4, taken: 3 });
  assert.deepEqual([w.last().sent, w.gaps], [["\0p"], []]);
});

test("what was missed is told once, and another socket is told as such", () => {
  const w = world();
  w.last().hello({ token: "s.id-1", time: 30000 });
  w.last().drop(1006);
  w.advance(125);
  w.last().hello({ token: "s.id-1", time: 30000, back: true, from: 5 });
  w.last().drop(1006);
  w.advance(250);
  w.last().hello({ token: "s.id-1", time: 30000, back: true, from: 2 ** 32 + 5 });
  w.connection.send("lost with the socket");
  w.last().drop(1006);
  w.advance(500);
  w.last().hello({ token: "s.id-2", time: 30000 });
  assert.deepEqual(w.gaps, [{ missed: 5, fresh: false, unsure: 0 }, { missed: null, fresh: false, unsure: 0 }, { missed: null, fresh: true, unsure: 1 }]);
  assert.deepEqual(w.last().sent, ["\0p"]);
});

test("a token is given up when its time is over", () => {
  const w = world();
  w.last().hello({ token: "s.id-1", time: 3000 });
  for (let i = 0; i < 6; i++) {
    w.last().drop(1006);
    w.advance(4000);
  }
  assert.deepEqual([w.last().protocols, w.gaps], [["holdfast.1"], [{ missed: null, fresh: true, unsure: 0 }]]);
});

test("a class whose sockets do not come back is as without", () => {
  const w = world();
  w.last().hello({});
  w.connection.send("x");
  w.last().drop(1006);
  w.advance(125);
  w.last().hello({});
  assert.deepEqual([w.last().protocols, w.last().sent, w.gaps], [["holdfast.1"], ["\0p"], []]);
});

test("to close is to leave", () => {
  const w = world();
  w.last().hello({ token: "s.id-1", time: 30000 });
  const ws = w.last();
  w.connection.close();
  assert.equal(ws.closed, 1000);
  w.connection.retry();
  assert.deepEqual(w.last().protocols, ["holdfast.1"]);
});

test("a gateway that answers no ping is lost", () => {
  const w = world();
  w.last().hello({ token: "s.id-1", time: 30000 });
  w.last().hear("\0a0");
  w.advance(1000);
  assert.deepEqual([w.last().sent, w.phase()], [["\0p", "\0p"], "open"]);
  w.advance(8000);
  assert.equal(w.phase(), "waiting");
});

test("with a greeting it is ready when that comes, and at once when it is back", () => {
  const w = world({ ready: (d) => d === "welcome" });
  w.last().hello({ token: "s.id-1", time: 30000 });
  assert.equal(w.phase(), "connecting");
  w.last().hear("welcome");
  assert.deepEqual([w.phase(), w.messages], ["open", ["welcome"]]);
  w.last().drop(1012);
  w.advance(250);
  w.last().hello({ token: "s.id-1", back: true, from: 1 });
  assert.equal(w.phase(), "open");
});

test("bytes are read and escaped as text is", () => {
  const bytes = (...all) => new Uint8Array(all).buffer;
  assert.deepEqual(readMessage(bytes(1, 2)), { kind: "message", data: bytes(1, 2) });
  assert.deepEqual(readMessage(bytes(0, 0, 2)), { kind: "message", data: bytes(0, 2) });
  assert.deepEqual(escapeMessage(new Uint8Array([0, 1])), new Uint8Array([0, 0, 1]));
  assert.deepEqual(escapeMessage(bytes(1)), bytes(1));
  assert.equal(escapeMessage(""), "");
  assert.deepEqual(readMessage(""), { kind: "message", data: "" });
});

test("nothing is sent on a socket that is closing", () => {
  const w = world();
  w.last().hello({ token: "s.id-1", time: 30000 });
  w.last().hear("\0a0");
  const before = w.last().sent.length;
  w.last().readyState = 2; // the close is on its way; its event comes later
  w.advance(60000); // a ping was due
  assert.equal(w.sockets[0].sent.length, before);
  assert.equal(w.connection.send("late"), false);
});
