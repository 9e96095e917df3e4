// The connections of one page are opened in turn.
//
// A browser opens one WebSocket to an address at a time. Chromium also delays each handshake by one to
// five seconds while a page has more than a dozen under way, so a few at a time are faster.

export class Turns {
  #most;
  #running = 0;
  #waiting = [];

  /** At most `most` turns run at a time. */
  constructor(most) {
    this.#most = most;
  }

  /** Calls begin when its turn comes, which may be at once. Returns a function that ends the turn, or the wait for it. */
  take(begin) {
    const turn = { begin, stage: "waiting" };
    this.#waiting.push(turn);
    this.#next();
    return () => this.#end(turn);
  }

  #end(turn) {
    const { stage } = turn;
    turn.stage = "over";
    if (stage !== "running") return;
    this.#running--;
    this.#next();
  }

  #next() {
    while (this.#running < this.#most && this.#waiting.length > 0) {
      const turn = this.#waiting.shift();
      if (turn.stage !== "waiting") continue;
      turn.stage = "running";
      this.#running++;
      try {
        turn.begin();
      } catch (e) {
        queueMicrotask(() => this.#end(turn)); // other turns go on; the error reaches the caller
        throw e;
      }
    }
  }
}

/** The turns of this page. Node needs no limit. */
export const turns = new Turns(globalThis.process?.versions?.node ? Infinity : 8);
