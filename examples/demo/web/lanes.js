// Draws a column's timeline as SVG from its layout. Playback does not redraw anything: it moves the edge
// of one clip rectangle and a line.
import { h, s, setText } from "./dom.js";
import { heightFor, LANE, layout, MARK } from "./geometry.js";

const TOP_OF_LATE = 6;

export class Lanes {
  constructor(root, id, describe) {
    Object.assign(this, { root, id, describe });
    this.caption = h("p", { class: "caption", "aria-live": "polite" });
    this.frame = h("div", { class: "lanes-frame", tabindex: "0", role: "group", "aria-label": describe });
    root.append(this.frame, this.caption);
    this.width = 0;
    this.run = null;
    this.picked = -1;
    this.us = Infinity;
    this.hint = "";
    new ResizeObserver(([entry]) => {
      const width = Math.floor(entry.contentRect.width);
      if (width === this.width || width < 40) return;
      this.width = width;
      this.draw();
    }).observe(this.frame);
    this.frame.addEventListener("keydown", (e) => this.#key(e));
    this.frame.addEventListener("pointermove", (e) => this.#hover(e));
    this.frame.addEventListener("pointerdown", (e) => this.#hover(e));
    this.frame.addEventListener("pointerleave", () => this.pick(-1));
    this.frame.addEventListener("blur", () => this.pick(-1));
  }

  /** {attempts, before, maxUs, faults} or null for the empty picture; hint is the text under it. */
  show(run, hint) {
    this.run = run;
    this.hint = hint;
    this.picked = -1;
    this.draw();
  }

  draw() {
    if (!this.width) return;
    if (!this.run) {
      this.frame.replaceChildren(ghost(this.width, 15));
      setText(this.caption, this.hint || "");
      return;
    }
    this.layout = layout(this.run.attempts, { width: this.width, ...this.run });
    this.frame.replaceChildren(this.#svg(this.layout));
    this.at(this.us);
    this.pick(this.picked);
  }

  /** Shows the picture up to a moment. */
  at(us) {
    this.us = us;
    if (!this.run || !this.layout) return;
    const over = us >= this.run.maxUs;
    const x = over ? this.width : this.layout.scale(us);
    this.clip.setAttribute("width", String(Math.max(0, x)));
    this.head.setAttribute("visibility", over ? "hidden" : "visible");
    this.head.setAttribute("transform", `translate(${x.toFixed(1)} 0)`);
  }

  /** Highlights one lane and describes it. */
  pick(row) {
    if (!this.run || !this.layout) return;
    const lane = this.layout.lanes[row];
    this.picked = lane ? row : -1;
    setText(this.caption, lane ? lane.story : this.hint || "");
    this.frame.classList.toggle("picking", !!lane);
    for (const el of this.frame.querySelectorAll("[data-lane]")) {
      el.classList.toggle("picked", !!lane && el.dataset.lane.split(" ").includes(String(lane.i)));
    }
  }

  #hover(e) {
    if (!this.layout) return;
    const row = Math.floor((e.clientY - this.frame.getBoundingClientRect().top - 4) / LANE);
    if (row !== this.picked) this.pick(row);
  }

  #key(e) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (e.key === "Escape") this.pick(-1);
    if (!by || !this.layout) return;
    e.preventDefault();
    const n = this.layout.lanes.length;
    this.pick((this.picked + by + n) % n);
  }

  #svg(l) {
    const clipId = `${this.id}-clip`;
    this.clip = s("rect", { x: 0, y: 0, height: l.height, width: l.width });
    this.head = s("line", { class: "playhead", x1: 0, x2: 0, y1: 0, y2: l.axis.y });
    const drawn = s("g", { "clip-path": `url(#${clipId})` }, l.outage && outage(l), ...l.lanes.map((lane) => this.#lane(lane)), ...l.links.map(link), l.steps && stepLine(l));
    return s(
      "svg",
      { class: "lanes", width: l.width, height: l.height, viewBox: `0 0 ${l.width} ${l.height}`, "aria-hidden": "true" },
      s("defs", null, s("clipPath", { id: clipId }, this.clip), hatch(this.id)),
      ...l.lanes.map((lane) => row(lane, l)),
      axis(l),
      drawn,
      this.head,
    );
  }

  #lane(lane) {
    const g = s("g", { class: "lane", "data-lane": lane.i });
    for (const seg of lane.segs) {
      const thick = seg.kind === "gap" || seg.kind === "ghost" ? 7 : seg.kind === "wait" ? 3 : 1.5;
      const box = { class: `seg ${seg.kind}`, x: seg.x1, y: lane.y - thick / 2, width: seg.x2 - seg.x1, height: thick };
      g.append(s("rect", box));
      if (seg.kind === "gap") g.append(s("rect", { ...box, class: "seg hatched", fill: `url(#${this.id}-hatch)` }));
    }
    for (const m of lane.marks) g.append(...mark(m, lane.y));
    return g;
  }
}

function row(lane, l) {
  return s(
    "g",
    { class: "row", "data-lane": lane.i },
    s("rect", { class: "row-back", x: 0, y: lane.y - LANE / 2, width: l.width, height: LANE, rx: 3 }),
    s("text", { class: "row-label", x: l.left - 10, y: lane.y + 3, "text-anchor": "end", text: lane.label }),
    s("line", { class: "row-line", x1: l.left, x2: l.width, y1: lane.y, y2: lane.y }),
  );
}

function mark(m, y) {
  const top = y - MARK / 2;
  if (m.kind === "retry") return [s("path", { class: "mark retry", d: `M${m.x - 2.5} ${y - 2.5}l5 5m0-5l-5 5` })];
  if (m.kind === "fail") {
    return [s("circle", { class: "mark fail", cx: m.x, cy: y, r: 4.5 }), s("path", { class: "mark fail", d: `M${m.x - 4.5} ${y + 4.5}l9-9` })];
  }
  const parts = [
    s("rect", { class: `mark ${m.kind}`, x: m.x - m.w / 2, y: top, width: m.w, height: MARK, rx: 2 }),
    s("text", { class: `mark-text ${m.kind}`, x: m.x, y: y + 3, "text-anchor": "middle", text: m.value }),
  ];
  // The notch is a bite out of the corner: a shape, so that red is not needed to see it.
  if (m.kind === "blind") parts.push(s("path", { class: "notch", d: `M${m.x + m.w / 2 + 2.5} ${top - 2.5}v6.5l-6.5-6.5z` }));
  return parts;
}

/** The time without an owner, and the fate of the dead owner's last write. */
function outage(l) {
  const { x1, x2, dead, next, refused } = l.outage;
  const y = LANE * 3 + 1; // beside the lanes that were done before
  const g = s("g", { class: "outage" }, s("rect", { x: x1, y: 0, width: Math.max(0, x2 - x1), height: l.axis.y }), s("line", { x1, x2: x1, y1: 0, y2: l.axis.y }));
  const say = (x, anchor, text) => g.append(s("text", { x, y, "text-anchor": anchor, text }));
  say(x1 + 4, "start", `owner killed, epoch ${dead}`);
  if (next) say(x2 - 4, "end", `→ epoch ${next}`);
  for (const { x } of refused) {
    g.append(s("line", { class: "late", x1: x, x2: x, y1: 0, y2: l.axis.y }));
    g.append(s("path", { class: "late", d: `M${x - 4} ${TOP_OF_LATE}l8 8m0-8l-8 8` }));
    g.append(s("text", { class: "late", x: x - 7, y: TOP_OF_LATE + 8, "text-anchor": "end", text: `late write of epoch ${dead} refused` }));
  }
  return g;
}

function link(c) {
  const bend = Math.min(36, Math.max(8, Math.abs(c.y2 - c.y1) / 3));
  return s("path", { class: "link", "data-lane": `${c.to}`, d: `M${c.x1} ${c.y1}C${c.x1 + bend} ${c.y1} ${c.x2 + bend} ${c.y2} ${c.x2} ${c.y2}` });
}

function stepLine(l) {
  const d = l.steps.points.map((p, k) => `${k ? "L" : "M"}${p.x.toFixed(1)} ${p.y.toFixed(1)}`).join("");
  const floor = l.axis.y;
  const ends = l.steps.points;
  return s(
    "g",
    { class: "steps" },
    s("path", { class: "step-area", d: `${d}L${ends[ends.length - 1].x} ${floor}L${ends[0].x} ${floor}z` }),
    s("path", { class: "step-line", d }),
    s("text", { class: "step-value", x: l.width - 2, y: l.steps.lastY + 3.5, "text-anchor": "end", text: String(l.steps.last) }),
  );
}

function axis(l) {
  const g = s("g", { class: "axis" }, s("line", { x1: l.left, x2: l.width, y1: l.axis.y, y2: l.axis.y }));
  for (const [k, t] of l.axis.ticks.entries()) {
    g.append(s("line", { x1: t.x, x2: t.x, y1: l.axis.y, y2: l.axis.y + 3 }));
    g.append(s("text", { x: t.x, y: l.axis.y + 13, "text-anchor": "middle", text: k === 0 ? "0 ms" : t.label }));
  }
  if (l.steps) g.append(s("text", { class: "axis-name", x: l.left, y: l.lanes.length * LANE + 15, text: "stored value" }));
  return g;
}

function hatch(id) {
  return s(
    "pattern",
    { id: `${id}-hatch`, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    s("line", { class: "hatch-line", x1: 0, x2: 0, y1: 0, y2: 5 }),
  );
}

/** The picture before the first run: lanes without requests. */
function ghost(width, n) {
  const height = heightFor(n);
  const svg = s("svg", { class: "lanes ghosted", width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  for (let k = 0; k < n; k++) {
    const y = 4 + k * LANE + LANE / 2;
    svg.append(s("line", { class: "row-line", x1: 24, x2: width - 28 - ((k * 37) % 60), y1: y, y2: y }));
  }
  const y = height - 16;
  svg.append(s("g", { class: "axis" }, s("line", { x1: 24, x2: width, y1: y, y2: y })));
  return svg;
}
