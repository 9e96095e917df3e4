// Connections of one page shake hands in turn.
//
// A browser shakes hands with an address once at a time. Chromium also has each handshake wait for one to
// five seconds while more than a dozen of a page are under way, so that fewer at a time are done sooner.

export class Turns {
  #most;
  #running = 0;
  #waiting = [];

  /** At most so many turns run at a time. */
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
        queueMicrotask(() => this.#end(turn)); // others go on, and whoever began hears of it
        throw e;
      }
    }
  }
}

/** The turns of this page. Node delays nothing. */
export const turns = new Turns(globalThis.process?.versions?.node ? Infinity : 8);
