// A WebSocket that comes back when it is lost, and reports its state.
//
// Nothing is queued while the connection is down: send returns false, and the caller decides about old messages.
// A dead connection can look open for minutes (a laptop that slept), so the client sends pings of its
// own, which a heartbeat describes: without a pong in time the socket is given up, before the
// network reports anything.
//
// With resume it comes back as the same socket: messages to it from meanwhile follow, and its own messages that
// were not taken are sent again. Only some classes allow that; for the others resume has no effect.
import { addresses } from "./addresses.js";
import { delay, readClose, sayClose } from "./backoff.js";
import { escapeMessage, PING, readMessage, Session } from "./session.js";
import { turns } from "./turns.js";
import { watchWorld } from "./watch.js";

// The events that lead from one phase to another. An event that a phase does not name has no effect in it.
const NEXT = {
  connecting: { ready: "open", lost: "waiting", refused: "refused", leave: "closed" },
  open: { lost: "waiting", refused: "refused", leave: "closed" },
  waiting: { try: "connecting", leave: "closed" },
  refused: { try: "connecting", leave: "closed" },
  closed: { try: "connecting" },
};

const TIMES = {
  open: 8000, // for a connection to be ready
  ping: 5000, // between a pong and the next ping
  pingSoon: 1000, // the same at first, so that the round trip is known soon
  pong: 8000, // longer than a takeover, which a socket survives
  pongAfterSleep: 2000, // short, because the connection is probably dead
  silent: 1500, // after this the object is probably moving to another host
  stable: 3000, // a connection that lasted this long resets the count of tries
};
const PINGS_SOON = 5;

const world = () => ({
  WebSocket: globalThis.WebSocket,
  now: () => performance.now(),
  random: Math.random,
  setTimeout: (fn, ms) => globalThis.setTimeout(fn, ms),
  clearTimeout: (id) => globalThis.clearTimeout(id),
  turns,
  addresses,
  visible: () => globalThis.document?.visibilityState !== "hidden",
});

/** Opens a connection and keeps it open until close. */
export function connect(url, options = {}) {
  const connection = new Connection(url, options);
  connection.retry();
  return connection;
}

export class Connection {
  #ws = null;
  #endTurn = () => {}; // ends the turn to connect, or the wait for it
  #taken = null; // the address of the socket
  #timers = {};
  #pongs = 0;
  #unwatch = null;
  #session = null; // null: the socket does not come back as the same one
  #greeted = false; // the hello has come
  #lostAt = null; // when the session was lost

  constructor(url, options = {}) {
    this.url = url;
    this.options = options;
    this.env = { ...world(), ...options.env };
    this.times = { ...TIMES, ...options.times };
    this.status = { phase: "closed", attempt: 0 };
    this.attempt = 0;
    if (options.resume) this.#session = new Session();
  }

  /** Sends if the connection is open, and returns whether it did. */
  send(data) {
    if (this.status.phase !== "open" || this.#ws.readyState !== 1) return false;
    if (!this.#session) {
      this.#ws.send(data);
      return true;
    }
    if (!this.#session.sends(data)) return false;
    this.#ws.send(escapeMessage(data));
    return true;
  }

  /** Tries at once, instead of at the next try or after a refusal. */
  retry() {
    if (!this.env.WebSocket) throw new TypeError("there is no WebSocket here: node has one since version 22; before, pass that of the package ws as env: { WebSocket }");
    if (!this.#can("try")) return;
    this.#clear();
    this.#unwatch ??= this.options.watch === false ? () => {} : watchWorld(this);
    this.#greeted = false;
    this.#go("try");
    this.#endTurn = this.env.turns.take(() => this.#dial());
  }

  #dial() {
    let ws;
    try {
      const urls = [typeof this.url === "function" ? this.url() : this.url].flat();
      this.#taken = this.env.addresses.take(urls, this.env.now(), this.env.random);
      ws = new this.env.WebSocket(this.#taken.url, this.#protocols());
    } catch (e) {
      this.#taken?.left();
      this.#go("refused", { code: 1006, reason: e.message }); // the URL, or a subprotocol, is not valid
      throw e;
    }
    ws.binaryType = "arraybuffer";
    this.#ws = ws;
    // Every handler checks that its socket is the current one: a late close of an old socket must not end
    // its successor.
    ws.onopen = () => {
      if (this.#ws !== ws) return;
      this.#endTurn();
      this.#taken.opened();
      if (!this.options.ready && !this.#session) this.#ready();
    };
    ws.onmessage = (e) => this.#ws === ws && (this.#session ? this.#receive(e.data) : this.#deliver(e.data));
    ws.onerror = () => {}; // a close follows; node's ws ends the process without a listener
    ws.onclose = (e) => this.#ws === ws && this.#lost(e.code, e.reason);
    this.#after("open", this.times.open, () => this.#lost(1006, ""));
  }

  /** Pings an open connection; `slept`: the machine probably slept. */
  probe(slept = false) {
    if (this.status.phase === "open") this.#ping(slept ? this.times.pongAfterSleep : this.times.pong);
  }

  /** Closes the connection. retry connects again. */
  close(code, reason) {
    if (!this.#can("leave")) return;
    if (this.#session) {
      this.#session.end();
      code ??= 1000; // without a code it would be a loss
    }
    this.#unwatch?.();
    this.#unwatch = null;
    this.#clear();
    this.#drop(code, reason);
    this.#go("leave");
  }

  #protocols() {
    const own = [this.options.protocols ?? []].flat();
    if (!this.#session) return own;
    // A token that is not accepted would be refused again and again.
    if (this.#lostAt !== null && this.env.now() - this.#lostAt > this.#session.time) this.#over();
    return [...this.#session.protocols(), ...own];
  }

  // Ends the session: the time to come back was over before a gateway was reached.
  #over() {
    const gap = this.#session.end();
    this.#lostAt = null;
    if (gap) this.options.onGap?.(gap, this);
  }

  #receive(raw) {
    const { kind, data } = readMessage(raw);
    if (kind === "hello") this.#hello(data);
    else if (!this.#greeted) return;
    else if (kind === "taken") this.#answered(data);
    else if (kind === "apart") this.#deliver(data);
    else if (kind === "message") {
      this.#session.received++;
      this.#deliver(data);
    }
  }

  #hello(hello) {
    this.#greeted = true;
    this.#lostAt = null;
    this.protocol = hello.subprotocol ?? "";
    const { again, gap } = this.#session.hello(hello);
    for (const data of again) this.#write(escapeMessage(data));
    if (hello.back || !this.options.ready) this.#ready();
    if (gap) this.options.onGap?.(gap, this);
  }

  // Handles the gateway's answer to a ping, which has the count of the client's messages that were taken.
  #answered(taken) {
    this.#session.taken(taken);
    if (!this.options.heartbeat) this.#pong();
  }

  #deliver(data) {
    if (this.status.phase === "connecting" && !this.options.ready?.(data)) return;
    if (this.status.phase === "connecting") this.#ready();
    else if (this.options.heartbeat?.isPong(data)) this.#pong();
    this.options.onMessage?.(data, this);
  }

  #ready() {
    this.#clear();
    this.#pongs = 0;
    this.#go("ready");
    this.#after("stable", this.times.stable, () => (this.attempt = 0));
    this.#ping(this.times.pong);
  }

  #ping(within) {
    const { heartbeat } = this.options;
    if (!heartbeat && !this.#session) return;
    for (const name of ["ping", "pong", "silent"]) this.#stop(name);
    // A hidden page sends no pings. watch.js probes when the page becomes visible.
    if (!this.env.visible()) {
      this.#after("ping", this.times.ping, () => this.#ping(this.times.pong));
      return;
    }
    if (this.#session) this.#write(PING);
    if (heartbeat) this.send(heartbeat.ping());
    this.#after("silent", this.times.silent, () => this.#tell({ ...this.status, silent: true }));
    this.#after("pong", within, () => this.#lost(1006, ""));
    // The pong schedules the next ping: two deadlines would race.
  }

  // A closing socket accepts nothing, and its end follows: unsent messages are sent again, and pings repeated.
  #write(data) {
    if (this.#ws.readyState === 1) this.#ws.send(data);
  }

  #pong() {
    if (this.#timers.pong === undefined) return;
    for (const name of ["pong", "silent"]) this.#stop(name);
    this.#pongs++;
    this.#after("ping", this.#pongs < PINGS_SOON ? this.times.pingSoon : this.times.ping, () => this.#ping(this.times.pong));
    if (this.status.silent) this.#tell({ phase: "open", attempt: this.attempt });
  }

  #lost(code, reason) {
    const kind = readClose(code);
    if (kind === "soon" || kind === "backoff") this.#taken.failed(this.env.now());
    this.#clear();
    this.#drop();
    if (this.#session?.token) this.#lostAt ??= this.env.now();
    if (kind === "refused") {
      this.#session?.end();
      this.#go("refused", { code, reason: sayClose(code, reason) });
      return;
    }
    const wait = delay(kind, this.attempt, this.env.random);
    this.attempt++;
    this.#after("retry", wait, () => this.retry());
    this.#go("lost", { code, retryAt: this.env.now() + wait, reason: kind === "fault" ? sayClose(code, reason) : "" });
  }

  #drop(code, reason) {
    this.#endTurn();
    this.#taken?.left();
    const ws = this.#ws;
    this.#ws = null;
    if (ws && ws.readyState <= 1) ws.close(code, reason);
  }

  #can(event) {
    return NEXT[this.status.phase][event] !== undefined;
  }

  #go(event, more = {}) {
    this.#tell({ phase: NEXT[this.status.phase][event], attempt: this.attempt, ...more });
  }

  #tell(status) {
    this.status = status;
    this.options.onStatus?.(status, this);
  }

  #after(name, ms, fn) {
    this.#stop(name);
    this.#timers[name] = this.env.setTimeout(() => {
      delete this.#timers[name];
      fn();
    }, ms);
  }

  #stop(name) {
    if (this.#timers[name] !== undefined) this.env.clearTimeout(this.#timers[name]);
    delete this.#timers[name];
  }

  #clear() {
    for (const name of Object.keys(this.#timers)) this.#stop(name);
  }
}
