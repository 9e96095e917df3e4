// One cursor's glide from where it is drawn to the newest point. No DOM, no clock of its own.
//
// The time a glide takes is a moving average of the time between points, so a sender at 30 Hz and one
// on a bad connection both look smooth. Nothing is extrapolated: a cursor is drawn only where it has been.
// Units are those of the stage, 0..10000 on both axes.

const SMOOTHING = 0.2;
const SHORTEST = 16;
const LONGEST = 150;
const REST = 1000; // after a pause longer than this the next point is a jump
const LEAP = 2500; // a quarter of the stage at once is a jump as well

const clamp = (v, lo, hi) => Math.min(hi, Math.max(lo, v));

export class Glide {
  constructor() {
    this.pace = 33;
    this.last = -Infinity;
    this.from = this.to = null;
    this.start = 0;
  }

  /** Takes the newest point, which arrived at `now` (ms). */
  aim(x, y, now) {
    const gap = now - this.last;
    const here = this.from ? this.at(now) : { x, y };
    const leap = Math.hypot(x - here.x, y - here.y) > LEAP;
    if (gap <= REST) this.pace = clamp(this.pace + SMOOTHING * (gap - this.pace), SHORTEST, LONGEST);
    this.from = gap > REST || leap ? { x, y } : { x: here.x, y: here.y };
    this.to = { x, y };
    this.start = this.last = now;
  }

  /** Where to draw at `now`, and whether the glide has arrived. */
  at(now) {
    if (!this.to) return { x: 0, y: 0, done: true };
    const k = clamp((now - this.start) / this.pace, 0, 1);
    return {
      x: this.from.x + (this.to.x - this.from.x) * k,
      y: this.from.y + (this.to.y - this.from.y) * k,
      done: k === 1 || (this.from.x === this.to.x && this.from.y === this.to.y),
    };
  }
}

/** Lets the newest of many values through at most every `every` ms; the last one is never lost. */
export class Throttle {
  constructor(every) {
    this.every = every;
    this.sent = -Infinity;
    this.waiting = undefined;
  }

  put(value) {
    this.waiting = value;
  }

  /** The value to send now, or undefined. */
  take(now) {
    if (this.waiting === undefined || now - this.sent < this.every) return undefined;
    return this.flush(now);
  }

  flush(now) {
    const value = this.waiting;
    this.waiting = undefined;
    if (value !== undefined) this.sent = now;
    return value;
  }

  get pending() {
    return this.waiting !== undefined;
  }
}
