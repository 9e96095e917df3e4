import { test } from "node:test";
import assert from "node:assert/strict";
import { clock } from "../../../../clients/js/fake/clock.mjs";
import { Connection } from "../../../../clients/js/index.js";
import { PING } from "../../../../clients/js/session.js";
import { RoomSocket } from "../socket.js";

// A world with its own clock and sockets that do what the test says.
function world() {
  const time = clock();
  const sockets = [];
  const seen = { states: [], messages: [], rtts: [] };
  class Fake {
    constructor(url, protocols) {
      Object.assign(this, { url, protocols, readyState: 1, sent: [] });
      sockets.push(this);
    }
    send(text) {
      if (text !== PING) this.sent.push(JSON.parse(text)); // that one is the client's and its gateway's
    }
    close() {
      this.readyState = 3;
    }
    // The gateway says who the socket is, before the room says anything.
    is(session) {
      this.onmessage({ data: "\0h" + JSON.stringify(session) });
    }
    greet(userId) {
      this.is({ token: `token of ${userId}`, time: 30000 });
      this.say({ type: "hello", userId });
    }
    say(m) {
      this.onmessage({ data: typeof m === "string" ? m : JSON.stringify(m) });
    }
    drop(code, reason = "") {
      this.readyState = 3;
      this.onclose({ code, reason });
    }
  }
  const w = {
    sockets,
    seen,
    visible: true,
    last: () => sockets[sockets.length - 1],
    state: () => seen.states[seen.states.length - 1],
    advance: time.advance,
  };
  const env = {
    WebSocket: Fake,
    now: time.now,
    random: () => 0.5,
    setTimeout: time.setTimeout,
    clearTimeout: time.clearTimeout,
    visible: () => w.visible,
  };
  const on = { state: (s) => seen.states.push(s), message: (m) => seen.messages.push(m), rtt: (v) => seen.rtts.push(v) };
  w.socket = new RoomSocket("ws://x/room/a", on, Connection, env);
  w.socket.start();
  return w;
}

function opened() {
  const w = world();
  w.last().greet("u1");
  return w;
}

test("open means that hello arrived", () => {
  const w = world();
  assert.equal(w.state().phase, "connecting");
  assert.equal(w.socket.send({ type: "cursor" }), false);
  w.last().greet("u1");
  assert.equal(w.state().phase, "open");
  assert.equal(w.seen.messages[0].userId, "u1");
  assert.equal(w.socket.send({ type: "cursor" }), true);
});

test("a connection without a hello is given up", () => {
  const w = world();
  w.advance(8000);
  assert.equal(w.state().phase, "waiting");
  w.advance(250);
  assert.equal(w.sockets.length, 2);
});

test("a restart brings the page back within 250 ms", () => {
  const w = opened();
  w.last().drop(1012);
  assert.equal(w.state().phase, "waiting");
  w.advance(250);
  assert.equal(w.sockets.length, 2);
  w.last().greet("u2");
  assert.equal(w.state().phase, "open");
});

test("nothing is queued while the room is away", () => {
  const w = opened();
  w.last().drop(1006);
  assert.equal(w.socket.send({ type: "ripple", x: 1, y: 1 }), false);
  w.advance(1000);
  w.last().greet("u2");
  assert.deepEqual(w.last().sent.map((m) => m.type), ["ping"]);
});

test("a refusal is final until a person asks", () => {
  const w = opened();
  w.last().drop(4403, "not yours");
  assert.deepEqual([w.state().phase, w.state().reason], ["refused", "not yours"]);
  w.advance(60000);
  assert.equal(w.sockets.length, 1);
  w.socket.retryNow();
  assert.equal(w.sockets.length, 2);
});

test("a fault shows its reference and tries again", () => {
  const w = opened();
  w.last().drop(1011, "reference r-42");
  assert.equal(w.state().reason, "reference r-42");
  w.advance(250);
  assert.equal(w.sockets.length, 2);
});

test("tries slow down, and a connection that lasts forgives them", () => {
  const w = world();
  for (let k = 0; k < 4; k++) {
    w.last().drop(1006);
    w.advance(8000);
  }
  assert.equal(w.seen.states.findLast((s) => s.phase === "connecting").attempt, 4);
  w.last().greet("u9");
  w.last().say({ type: "pong", t: 0 });
  w.advance(3000);
  w.last().drop(1006);
  assert.equal(w.state().attempt, 1);
});

test("a pong measures the round trip", () => {
  const w = opened();
  const ping = w.last().sent[0];
  w.advance(40);
  w.last().say({ type: "pong", t: ping.t });
  assert.deepEqual(w.seen.rtts, [40]);
});

test("five pings come soon, then they come seldom", () => {
  const w = opened();
  const pings = () => w.last().sent.length;
  for (let k = 1; k < 5; k++) {
    w.last().say({ type: "pong", t: 0 });
    w.advance(1000);
    assert.equal(pings(), k + 1);
  }
  w.last().say({ type: "pong", t: 0 });
  w.advance(4999);
  assert.equal(pings(), 5);
  w.advance(1);
  assert.equal(pings(), 6);
});

test("a silent owner is told of, and a socket silent for eight seconds is replaced", () => {
  const w = opened();
  w.advance(1500);
  assert.equal(w.state().silent, true);
  w.advance(6500);
  assert.equal(w.state().phase, "waiting");
  assert.equal(w.sockets[0].readyState, 3);
});

test("after a sleep two seconds of silence are enough", () => {
  const w = opened();
  w.last().say({ type: "pong", t: 0 });
  w.socket.connection.probe(true);
  w.advance(2000);
  assert.equal(w.state().phase, "waiting");
});

test("a hidden page does not ping", () => {
  const w = opened();
  w.last().say({ type: "pong", t: 0 });
  w.visible = false;
  w.advance(60000);
  assert.equal(w.last().sent.length, 1);
  assert.equal(w.state().phase, "open");
  w.visible = true;
  w.socket.connection.probe();
  assert.equal(w.last().sent.length, 2);
});

test("the close of an old socket does not end its successor", () => {
  const w = opened();
  const old = w.last();
  w.advance(8000); // no pong: given up
  w.advance(1000);
  w.last().greet("u9");
  old.drop(1006);
  assert.equal(w.state().phase, "open");
});

test("frames that are not JSON objects are ignored", () => {
  const w = opened();
  for (const junk of ["", "{", "null", "7"]) w.last().say(junk);
  assert.equal(w.seen.messages.length, 1);
});

test("frames that another person forged are not the room's", () => {
  const w = opened();
  const ping = w.last().sent[0];
  w.advance(40);
  for (const type of ["hello", "pong", "owner", "error"]) w.last().say({ type, t: ping.t, epoch: 99, userId: "u2" });
  assert.deepEqual(w.seen.messages.map((m) => m.type), ["hello"]);
  assert.equal(w.seen.messages[0].userId, "u1");
  assert.deepEqual(w.seen.rtts, []);
  w.last().say({ type: "cursor", x: 1, y: 1, userId: "u2" });
  assert.equal(w.seen.messages.length, 2);
  // A forged pong does not keep a dead connection alive.
  w.advance(7960);
  assert.equal(w.state().phase, "waiting");
});

test("cursors come many in one frame, and alone", () => {
  const w = opened();
  assert.equal(w.last().url, "ws://x/room/a?conflated");
  w.last().say([
    { type: "cursor", x: 1, y: 1, userId: "u2" },
    { type: "pong", t: 0, userId: "u2" },
    null,
    { type: "cursor", x: 2, y: 2, userId: "u3" },
  ]);
  w.last().say({ type: "cursor", x: 3, y: 3, userId: "u2" });
  assert.deepEqual(w.seen.messages.slice(1).map((m) => `${m.userId} ${m.x}`), ["u2 1", "u3 2", "u2 3"]);
});

test("who comes back is the same person, and is not greeted again", () => {
  const w = opened();
  w.last().drop(1012);
  w.advance(250);
  assert.match(w.last().protocols[1], /^holdfast\.resume\.\d+\.token of u1$/);
  w.last().is({ token: "token of u1", time: 30000, back: true, from: 1 });
  assert.equal(w.state().phase, "open");
  w.last().say({ type: "hello", userId: "u2", name: "evil" });
  w.last().say({ type: "cursor", x: 1, y: 1, userId: "u2" });
  assert.deepEqual(w.seen.messages.map((m) => m.type), ["hello", "cursor"]);
});

test("who has missed something asks the room anew who is there", () => {
  const w = opened();
  w.last().drop(1006);
  w.advance(250);
  w.last().is({ token: "token of u1", time: 30000, back: true, from: 7 });
  const sent = w.last().sent;
  assert.deepEqual(sent.map((m) => m.type), ["ping", "ping", "hello"]);
  w.last().say({ type: "pong", t: sent[0].t }); // of the lost connection, whose ping is sent again
  assert.deepEqual(w.seen.rtts, []);
  w.last().say({ type: "hello", userId: "u1", people: 3 });
  assert.equal(w.seen.messages.at(-1).people, 3);
});

test("who was away for too long is somebody new", () => {
  const w = opened();
  w.last().drop(1012);
  w.advance(250);
  w.last().is({ token: "token of u3", time: 30000 });
  w.last().say({ type: "owner", epoch: 99, userId: "u2" });
  assert.equal(w.state().phase, "connecting");
  w.last().say({ type: "hello", userId: "u3" });
  assert.deepEqual(w.seen.messages.map((m) => m.userId), ["u1", "u3"]);
  assert.deepEqual(w.last().sent.map((m) => m.type), ["ping"]);
});

test("a page that is left lets go of the room, and comes back when it is shown again", () => {
  const w = opened();
  w.socket.stop();
  assert.equal(w.sockets[0].readyState, 3);
  w.advance(60000);
  assert.equal(w.sockets.length, 1);
  w.socket.retryNow();
  w.last().greet("u2");
  assert.equal(w.state().phase, "open");
});
