// Shows whether the room is awake. The page asks once a second, which does not wake the room, and only while visible.
import { $, h, s, setText } from "./dom.js";

const EVERY = 1000;
const SPAN = 90000; // of the picture

const WOKEN = {
  fetch: "somebody came in",
  message: "somebody moved",
  closed: "somebody left",
  call: "a call",
  alarm: "its alarm",
  told: "another object told it something",
};

/** Returns the event that woke the room, in words; no DOM. */
export const sayWoken = (kind) => (Object.hasOwn(WOKEN, kind) ? WOKEN[kind] : "an event");

/** A time that has passed; no DOM. */
export function sayFor(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const number = (n) => n.toLocaleString("en");
const plural = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;

/** Returns {state, now, why, facts} for the owner's answer; no DOM. */
export function sayLife(life) {
  if (!life.owned) return { state: "nobody", now: "Nobody owns it now.", why: "The next message has a host take it over.", facts: "" };
  const facts = `${life.constructed === 1 ? "Constructed once" : `Constructed ${number(life.constructed)} times`} by this owner. ${plural(life.sockets, "socket")} open.`;
  if (life.awake) return { state: "awake", now: `Awake for ${sayFor(life.ms)}`, why: `What woke it: ${sayWoken(life.woken)}.`, facts };
  return { state: "asleep", now: `Asleep for ${sayFor(life.ms)}`, why: "Its code is not in memory. A message wakes it.", facts };
}

/** The room's recent times awake and asleep: [{state, from, to, constructed, woken}]. No DOM, no clock of its own. */
export class Diary {
  constructor(span = SPAN) {
    this.span = span;
    this.spans = [];
  }

  /** Takes the owner's answer at `now`; returns what has changed: "slept", "woke" or "". */
  note(life, now) {
    const state = life.owned ? (life.awake ? "awake" : "asleep") : "nobody";
    const last = this.spans.at(-1);
    const since = now - (life.owned ? life.ms : 0);
    const same = last && last.state === state && last.constructed === life.constructed;
    if (!same) {
      const from = last ? Math.min(now, Math.max(last.from, since)) : since;
      if (last) last.to = from;
      this.spans.push({ state, from, constructed: life.constructed, woken: life.woken });
    }
    this.spans.at(-1).to = now;
    this.spans = this.spans.filter((p) => p.to > now - this.span);
    if (same || !last) return "";
    if (state === "asleep") return "slept";
    return state === "awake" && last.state !== "nobody" ? "woke" : "";
  }

  /** Returns the displayed part of the spans at `now`, as fractions: [{state, x1, x2, woken}]. */
  shown(now) {
    const at = (t) => Math.max(0, 1 - (now - t) / this.span);
    return this.spans.map((p) => ({ state: p.state, x1: at(p.from), x2: at(p.to), woken: p.from > now - this.span ? p.woken : "" }));
  }
}

const HEIGHT = 30;
const BASE = 13;

export class Life {
  /** seen(step) is called with what a visitor has seen. */
  constructor(roomName, seen) {
    this.url = `/room/${encodeURIComponent(roomName)}/life`;
    this.seen = seen;
    this.open = false;
    this.diary = new Diary();
    this.root = $("#life");
    this.strip = $("#life-strip");
    new ResizeObserver(() => this.#draw(performance.now())).observe(this.strip);
    setInterval(() => this.#ask(), EVERY);
    document.addEventListener("visibilitychange", () => this.#ask());
  }

  /** Sets whether the room is connected. */
  setOpen(open) {
    const came = open && !this.open;
    this.open = open;
    if (came) this.#ask();
  }

  async #ask() {
    if (!this.open || document.hidden || this.asking) return;
    this.asking = true;
    try {
      const res = await fetch(this.url, { cache: "no-store" });
      if (res.ok) this.#show(await res.json());
    } catch (_) {
      // The gateway cannot be reached; the pill says so.
    } finally {
      this.asking = false;
    }
  }

  #show(life) {
    const now = performance.now();
    const words = sayLife(life);
    const change = this.diary.note(life, now);
    this.root.dataset.state = words.state;
    setText($("#life-now"), words.now);
    setText($("#life-why"), words.why);
    setText($("#life-facts"), words.facts);
    if (change === "slept") setText($("#life-spoken"), "The room fell asleep.");
    if (change === "woke") {
      setText($("#life-spoken"), `The room woke: ${sayWoken(life.woken)}.`);
      this.seen("sleep");
    }
    this.#draw(now);
  }

  #draw(now) {
    const width = Math.floor(this.strip.clientWidth);
    if (!width) return;
    const svg = s("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" });
    svg.append(s("line", { class: "asleep-line", x1: 0, x2: width, y1: BASE, y2: BASE }));
    for (const p of this.diary.shown(now)) {
      const [x1, x2] = [p.x1 * width, p.x2 * width];
      if (p.state !== "awake") continue;
      svg.append(s("rect", { class: "awake-bar", x: x1, y: BASE - 5, width: Math.max(2, x2 - x1), height: 10, rx: 3 }));
      if (p.woken) svg.append(s("path", { class: "woke-mark", d: `M${x1 + 1} ${BASE - 11}v22` }));
    }
    const label = (x, anchor, text) => svg.append(s("text", { x, y: HEIGHT - 1, "text-anchor": anchor, text }));
    label(0, "start", `${SPAN / 1000} s ago`);
    label(width, "end", "now");
    this.strip.replaceChildren(svg);
  }
}
