// The room's way of using a connection: frames are JSON, hello makes it ready, ping asks the owner itself,
// but only while something happens in the room: otherwise the gateway is asked, so that the room may sleep.
// What a peer may have forged is dropped here, before anybody believes it.
import { isForged } from "./frames.js";

const parse = (data) => {
  try {
    const m = JSON.parse(data);
    return m && typeof m === "object" ? m : null;
  } catch (_) {
    return null; // not ours
  }
};

const QUIET = 3000; // after this long nothing happens any more
const ANYONE_THERE = JSON.stringify({ type: "ping" }); // which the gateway answers by itself

export class RoomSocket {
  /**
   * on.state(status of the connection), on.message(object), on.rtt(ms). `Connection` is the client's; `env`
   * replaces the browser in tests.
   */
  constructor(url, on, Connection, env = {}) {
    this.connection = new Connection(`${url}?conflated`, { // cursors come many in one frame
      env,
      resume: true, // as the same person
      ready: (data) => this.#isReady(data),
      heartbeat: {
        ping: () => (this.#isQuiet() ? ANYONE_THERE : JSON.stringify({ type: "ping", t: Math.round(this.connection.env.now()) })),
        isPong: (data) => this.#isPong(parse(data)),
      },
      onStatus: (status) => {
        if (status.phase === "connecting") this.tried = this.connection.env.now();
        on.state(status);
      },
      onGap: ({ fresh }) => fresh || this.send({ type: "hello" }), // who is new is greeted anyway
      onMessage: (data) => {
        const m = parse(data);
        for (const one of Array.isArray(m) ? m : [m]) this.#hear(one, on);
      },
    });
    this.me = null; // one's own userId
    this.tried = 0; // when this connection began
    this.stirred = -Infinity; // when something happened last
  }

  // The first message to a new socket is the room's own. A socket that comes back gets none.
  #isReady(data) {
    const m = parse(data);
    if (m?.type !== "hello") return false;
    this.me = m.userId;
    this.stirred = this.connection.env.now();
    return true;
  }

  #isQuiet() {
    return this.connection.env.now() - this.stirred > QUIET;
  }

  #hear(m, on) {
    if (!m || typeof m !== "object" || isForged(m, this.me)) return;
    if (m.type !== "pong") this.stirred = this.connection.env.now();
    // What was asked on an earlier connection has waited for this one.
    if (m.type === "pong" && m.t >= this.tried) on.rtt(Math.max(0, this.connection.env.now() - m.t));
    on.message(m);
  }

  #isPong(m) {
    return m?.type === "pong" && !isForged(m, this.me);
  }

  start() {
    this.connection.retry();
  }

  /** Sends if the room is there; says whether it was sent. */
  send(message) {
    this.stirred = this.connection.env.now();
    return this.connection.send(JSON.stringify(message));
  }

  /** Tries at once: a click on "Retry now". */
  retryNow() {
    this.connection.retry();
  }

  /** Lets go of the room until retryNow: the page is left, though the browser may keep it and show it again. */
  stop() {
    this.connection.close();
  }
}
