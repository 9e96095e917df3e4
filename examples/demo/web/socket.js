// The room's socket: opens it, keeps it, and comes back when it is lost.
//
// A socket is "open" only once hello arrived: an accepted connection that says nothing is no room.
// Nothing is queued while it is down: a cursor position from before the loss is of no use to anybody.
// A dead connection can look open for minutes (a laptop that slept), so silence is measured by our own
// pings: no pong in time and the socket is given up, without waiting for the network to notice.
import { delay, readClose, sayClose } from "./backoff.js";
import { isForged } from "./frames.js";

const PING_EVERY = 5000;
const PING_SOON = 1000; // at first, for a median that says something: the page itself is busy then
const PINGS_SOON = 5;
const PONG_WITHIN = 8000; // longer than a takeover, which the socket is meant to survive
const SLEPT_PONG_WITHIN = 2000; // after a sleep the line is probably dead: find out quickly
const SLOW_PONG = 1500; // from here on the owner is probably moving, and the pill says so
const STABLE_AFTER = 3000; // a connection that lived this long starts counting tries anew

const browser = () => ({
  WebSocket: globalThis.WebSocket,
  now: () => performance.now(),
  random: Math.random,
  setTimeout: (fn, ms) => globalThis.setTimeout(fn, ms),
  clearTimeout: (id) => globalThis.clearTimeout(id),
  visible: () => document.visibilityState !== "hidden",
});

export class RoomSocket {
  /**
   * on.state({phase: connecting|open|waiting|refused, attempt, retryAt, reason, code, silent}), on.message(object),
   * on.rtt(ms). `env` replaces the browser in tests.
   */
  constructor(url, on, env = browser()) {
    Object.assign(this, { url, on, env });
    this.attempt = 0;
    this.timers = {};
    this.ws = null;
    this.phase = "connecting";
  }

  start() {
    this.#clear();
    this.#drop();
    const ws = new this.env.WebSocket(`${this.url}?conflated`); // cursors come many in one frame
    this.ws = ws;
    this.#tell("connecting");
    // Every handler asks whether it is still the current socket: a late close of an old one must not
    // end its successor.
    ws.onmessage = (e) => this.ws === ws && this.#message(e.data);
    ws.onclose = (e) => this.ws === ws && this.#closed(e.code, e.reason);
    this.#timer("hello", PONG_WITHIN, () => this.#closed(1006, ""));
  }

  /** Sends if the room is there; says whether it was sent. */
  send(message) {
    if (this.phase !== "open" || this.ws.readyState !== 1) return false;
    this.ws.send(JSON.stringify(message));
    return true;
  }

  /** Tries at once: a click on "Retry now", the network came back, the tab is looked at again. */
  retryNow() {
    if (this.phase === "waiting" || this.phase === "refused") this.start();
  }

  /** Lets go of the room until retryNow: the page is left, though the browser may keep it and show it again. */
  stop() {
    if (this.phase === "refused") return;
    this.#clear();
    this.#drop();
    this.#tell("waiting", { retryAt: this.env.now() });
  }

  /** Asks whether an open line is alive. `slept`: the machine probably was away. */
  probe(slept = false) {
    if (this.phase === "open") this.#ping(slept ? SLEPT_PONG_WITHIN : PONG_WITHIN);
  }

  #message(data) {
    let m;
    try {
      m = JSON.parse(data);
    } catch (_) {
      return; // not ours
    }
    for (const one of Array.isArray(m) ? m : [m]) this.#hear(one);
  }

  #hear(m) {
    if (!m || typeof m !== "object" || isForged(m, this.phase === "open")) return;
    if (m.type === "hello") this.#opened();
    if (m.type === "pong") this.#pong(m);
    if (this.phase === "open") this.on.message(m);
  }

  #opened() {
    this.#clear();
    this.pongs = 0;
    this.#tell("open");
    this.#timer("stable", STABLE_AFTER, () => (this.attempt = 0));
    this.#ping(PONG_WITHIN);
  }

  #ping(within) {
    for (const name of ["ping", "pong", "slow"]) this.#stop(name);
    // Nobody looks: nothing is asked. The return of the eye probes.
    if (!this.env.visible()) {
      this.#timer("ping", PING_EVERY, () => this.#ping(PONG_WITHIN));
      return;
    }
    this.send({ type: "ping", t: Math.round(this.env.now()) });
    this.#timer("slow", SLOW_PONG, () => this.#tell("open", { silent: true }));
    this.#timer("pong", within, () => this.#closed(1006, ""));
    // The next ping is set by this one's pong: two deadlines would race.
  }

  #pong(m) {
    if (this.timers.pong === undefined) return;
    for (const name of ["pong", "slow"]) this.#stop(name);
    this.pongs++;
    this.#timer("ping", this.pongs < PINGS_SOON ? PING_SOON : PING_EVERY, () => this.#ping(PONG_WITHIN));
    if (typeof m.t === "number") this.on.rtt(Math.max(0, this.env.now() - m.t));
    this.#tell("open");
  }

  #closed(code, reason) {
    this.#clear();
    this.#drop();
    const kind = readClose(code);
    if (kind === "refused") {
      this.#tell("refused", { code, reason: sayClose(code, reason) });
      return;
    }
    const wait = delay(kind, this.attempt, this.env.random);
    this.attempt++;
    this.#timer("retry", wait, () => this.start());
    this.#tell("waiting", {
      code,
      retryAt: this.env.now() + wait,
      reason: kind === "fault" ? sayClose(code, reason) : "",
    });
  }

  #drop() {
    const ws = this.ws;
    this.ws = null;
    if (ws && ws.readyState <= 1) ws.close();
  }

  #tell(phase, more = {}) {
    this.phase = phase;
    this.on.state({ phase, attempt: this.attempt, ...more });
  }

  #timer(name, ms, fn) {
    this.#stop(name);
    this.timers[name] = this.env.setTimeout(() => {
      delete this.timers[name];
      fn();
    }, ms);
  }

  #stop(name) {
    if (this.timers[name] !== undefined) this.env.clearTimeout(this.timers[name]);
    delete this.timers[name];
  }

  #clear() {
    for (const name of Object.keys(this.timers)) this.#stop(name);
  }
}
