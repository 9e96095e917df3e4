// The visitor's own pointer on the stage: mouse, pen, finger or arrow keys, in stage coordinates.
//
// The system's own pointer stays visible: people choose its size and contrast. Only the name follows
// it. An arrow of our own is drawn for the keyboard, where there is none.
import { $ } from "./dom.js";
import { flip, pointerShape, tagSize } from "./cursors.js";
import { Throttle } from "./tween.js";

const EVERY = 33; // at most 30 points a second leave this page

const clamp = (v) => Math.min(10000, Math.max(0, Math.round(v)));

export class Pointer {
  /** on.move(x|null, y|null, kind) is throttled, its last point always delivered; on.ripple(x, y) is not. */
  constructor(stage, on) {
    Object.assign(this, { stage, on });
    this.at = null; // the last point, {x, y, kind}, or null when off the stage
    this.throttle = new Throttle(EVERY);
    this.frame = 0;
    this.me = $("#me");
    this.me.prepend(pointerShape());
    this.#listen();
  }

  #listen() {
    const { stage } = this;
    stage.addEventListener("pointermove", (e) => this.#moved(e));
    stage.addEventListener("pointerdown", (e) => this.#moved(e));
    stage.addEventListener("pointerleave", () => this.leave());
    stage.addEventListener("pointercancel", () => this.leave());
    stage.addEventListener("pointerup", (e) => e.pointerType === "touch" && this.leave());
    stage.addEventListener("click", (e) => {
      // A link or a button on the stage is not the stage. detail is 0 for a click made by a key.
      if (e.target.closest("a, button") || e.detail === 0) return;
      const p = this.#point(e);
      this.on.ripple(p.x, p.y);
    });
    stage.addEventListener("keydown", (e) => this.#key(e));
    stage.addEventListener("blur", () => this.at?.kind === "keys" && this.leave());
    document.addEventListener("visibilitychange", () => document.hidden && this.leave());
  }

  /** The pointer has left the stage. Sent at once, since a hidden tab has no animation frames. */
  leave() {
    if (!this.at) return;
    this.at = null;
    this.throttle.put(undefined);
    this.me.hidden = true;
    this.on.move(null, null);
  }

  #point(e) {
    const box = this.stage.getBoundingClientRect();
    return {
      x: clamp(((e.clientX - box.left) / box.width) * 10000),
      y: clamp(((e.clientY - box.top) / box.height) * 10000),
    };
  }

  #moved(e) {
    const p = this.#point(e);
    this.#go(p.x, p.y, e.pointerType === "touch" ? "touch" : "mouse");
  }

  #go(x, y, kind) {
    this.at = { x, y, kind };
    this.me.hidden = false;
    this.me.dataset.kind = kind;
    this.me.style.left = `${x / 100}%`;
    this.me.style.top = `${y / 100}%`;
    const stage = { w: this.stage.clientWidth, h: this.stage.clientHeight };
    flip(this.me, (x / 10000) * stage.w, (y / 10000) * stage.h, tagSize(this.me), stage);
    this.throttle.put(this.at);
    if (!this.frame) this.frame = requestAnimationFrame((now) => this.#tick(now));
  }

  #tick(now) {
    this.frame = 0;
    const p = this.throttle.take(now);
    if (p) this.on.move(p.x, p.y, p.kind);
    if (this.throttle.pending) this.frame = requestAnimationFrame((t) => this.#tick(t));
  }

  #key(e) {
    if (e.target !== this.stage || e.altKey || e.ctrlKey || e.metaKey) return;
    const step = e.shiftKey ? 1000 : 200;
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[e.key];
    const from = this.at || { x: 5000, y: 5000 };
    if (by) this.#go(clamp(from.x + by[0]), clamp(from.y + by[1]), "keys");
    else if (e.key === " ") {
      if (!e.repeat) {
        this.#go(from.x, from.y, "keys");
        this.on.ripple(from.x, from.y);
      }
    } else if (e.key === "Escape") this.leave();
    else return;
    e.preventDefault();
  }
}
