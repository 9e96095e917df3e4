// The other visitors' cursors on the stage, all drawn by one animation loop.
//
// Cursors are decoration (aria-hidden); the presence list has the same information in an accessible form.
// A still cursor fades but stays while its person is connected: a removed cursor means that the person left.
import { h, s } from "./dom.js";
import { Glide } from "./tween.js";
import { motionPaused, motionReduced } from "./theme.js";

const STEP = 200; // with reduced motion a cursor moves in steps, five a second at most
const IDLE = 5000;
const ASLEEP = 60000;

/** The pointer's shape: an arrow, and a ring for fingers. CSS shows the one that applies. */
export function pointerShape() {
  return s(
    "svg",
    { class: "cursor-shape", viewBox: "0 0 22 24", width: 22, height: 24 },
    s("path", { class: "arrow", d: "M3 2.5 18.6 13.4l-7.1 1-3.9 6.3z" }),
    s("circle", { class: "touch", cx: 11, cy: 12, r: 8 }),
  );
}

const TAG = 15; // where a name begins, right of and below the pointer

/** The size of an element's name. Asking costs a layout: a name that stays the same is asked once. */
export const tagSize = (el) => ({ w: el.lastElementChild.offsetWidth, h: el.lastElementChild.offsetHeight });

/** Near the right and the lower edge the name goes to the other side of the pointer at x, y. */
export function flip(el, x, y, tag, stage) {
  el.classList.toggle("flip", x + TAG + tag.w > stage.w);
  el.classList.toggle("flip-up", y + TAG + tag.h > stage.h);
}

export class Cursors {
  constructor(layer) {
    this.layer = layer;
    this.all = new Map(); // userId -> {el, tag, glide, seen, still}
    this.frozen = false;
    this.frame = 0;
    this.stepped = 0;
    this.size = { w: 0, h: 0 };
    new ResizeObserver(([entry]) => {
      this.size = { w: entry.contentRect.width, h: entry.contentRect.height };
      for (const c of this.all.values()) c.still = false;
      this.#run();
    }).observe(layer);
    setInterval(() => this.#age(), 1000);
  }

  move(peer, x, y, touch) {
    const c = this.all.get(peer.userId) || this.#add(peer);
    c.glide.aim(x, y, performance.now());
    c.el.hidden = false;
    c.el.classList.toggle("by-touch", touch);
    this.active(peer.userId);
    c.still = false;
    this.#run();
  }

  /** Notes any activity, not only moves: a person who clicks or types is not idle. */
  active(userId) {
    const c = this.all.get(userId);
    if (!c) return;
    c.seen = performance.now();
    c.el.classList.remove("idle", "asleep");
  }

  hide(userId) {
    const c = this.all.get(userId);
    if (c) c.el.hidden = true;
  }

  remove(userId) {
    this.all.get(userId)?.el.remove();
    this.all.delete(userId);
  }

  /** While the room is not connected, cursors stay where they are; CSS fades them. */
  freeze(frozen) {
    this.frozen = frozen;
    this.#run();
  }

  /** Draws again after pausing or resuming. */
  refresh() {
    this.#run();
  }

  #add(peer) {
    const el = h("div", { class: "cursor", "data-user": peer.userId }, pointerShape(), h("span", { class: "tag", text: peer.label }));
    el.style.setProperty("--who", peer.color);
    this.layer.append(el);
    const c = { el, tag: tagSize(el), glide: new Glide(), seen: performance.now(), still: false };
    this.all.set(peer.userId, c);
    return c;
  }

  #run() {
    if (!this.frame) this.frame = requestAnimationFrame((now) => this.#draw(now));
  }

  #draw(now) {
    this.frame = 0;
    if (this.frozen || motionPaused()) return;
    const stepping = motionReduced();
    const due = !stepping || now - this.stepped >= STEP;
    let busy = false;
    for (const c of this.all.values()) {
      if (c.still) continue;
      if (due) this.#place(c, stepping ? { ...c.glide.to, done: true } : c.glide.at(now));
      busy ||= !c.still;
    }
    if (due) this.stepped = now;
    if (busy) this.#run();
  }

  #place(c, point) {
    const x = (point.x / 10000) * this.size.w;
    const y = (point.y / 10000) * this.size.h;
    c.el.style.transform = `translate3d(${x.toFixed(1)}px, ${y.toFixed(1)}px, 0)`;
    c.el.style.willChange = point.done ? "auto" : "transform";
    flip(c.el, x, y, c.tag, this.size);
    c.still = point.done;
  }

  #age() {
    const now = performance.now();
    for (const c of this.all.values()) {
      c.el.classList.toggle("idle", now - c.seen > IDLE);
      c.el.classList.toggle("asleep", now - c.seen > ASLEEP);
    }
  }
}
