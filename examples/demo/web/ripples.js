// Ripples: one ring per click, in the colour of whoever clicked.
import { h } from "./dom.js";
import { motionPaused, motionReduced } from "./theme.js";

const ALIVE = 40; // more at once are not drawn
const APART = 340; // of one visitor, at most three a second: nothing on this page may flash

export class Ripples {
  constructor(layer) {
    this.layer = layer;
    this.last = new Map();
  }

  /** Whether this visitor may make another ripple now. */
  allow(userId) {
    const now = performance.now();
    if (now - (this.last.get(userId) ?? -Infinity) < APART) return false;
    this.last.set(userId, now);
    return true;
  }

  forget(userId) {
    this.last.delete(userId);
  }

  /** Draws one at stage coordinates. A ripple that could not be sent is dashed. */
  show(userId, x, y, color, sent = true) {
    if (this.layer.childElementCount >= ALIVE) return;
    const el = h("span", { class: sent ? "ripple" : "ripple unsent", "data-user": userId, "aria-hidden": "true" });
    el.style.left = `${x / 100}%`;
    el.style.top = `${y / 100}%`;
    el.style.setProperty("--who", color);
    this.layer.append(el);
    const still = motionReduced() || motionPaused();
    const keyframes = still
      ? [{ opacity: 0.9, transform: "translate(-50%, -50%) scale(.4)" }, { opacity: 0, transform: "translate(-50%, -50%) scale(.4)" }]
      : [
          { opacity: 1, transform: "translate(-50%, -50%) scale(0)" },
          { opacity: 0.75, transform: "translate(-50%, -50%) scale(.7)", offset: 0.45 },
          { opacity: 0, transform: "translate(-50%, -50%) scale(1)" },
        ];
    const life = el.animate(keyframes, { duration: still ? 200 : 600, easing: "ease-out", fill: "forwards", delay: still ? 300 : 0 });
    life.finished.finally(() => el.remove()).catch(() => {});
  }
}
