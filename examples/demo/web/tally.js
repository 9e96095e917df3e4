// How many increments each run of this session lost: one dot per run over 0..n. After a few runs it shows
// that the naive counter does not fail by accident.
import { $, s, setText } from "./dom.js";

export class Tally {
  constructor() {
    this.root = $("#tally");
    this.runs = [];
  }

  /** naive and object: increments each lost in this run of n. */
  add({ naive, object, n }) {
    this.runs.push({ lost: naive, object, n });
    if (this.runs.length > 60) this.runs.shift();
    this.root.hidden = this.runs.length < 2;
    this.#draw();
  }

  #draw() {
    const width = 260;
    const n = Math.max(...this.runs.map((r) => r.n));
    const heights = new Map();
    const x = (v) => 8 + (v / n) * (width - 16);
    const dots = this.runs.map((r) => {
      const k = heights.get(r.lost) || 0;
      heights.set(r.lost, k + 1);
      return { x: x(r.lost), k };
    });
    const tall = Math.max(...heights.values());
    const pitch = Math.min(8, 48 / tall);
    const floor = Math.max(16, tall * pitch + 6);
    const svg = s("svg", { width, height: floor + 16, viewBox: `0 0 ${width} ${floor + 16}`, "aria-hidden": "true" });
    svg.append(s("line", { class: "row-line", x1: 4, x2: width - 4, y1: floor, y2: floor }));
    for (const d of dots) svg.append(s("circle", { class: "dot", cx: d.x, cy: floor - 4 - d.k * pitch, r: 3 }));
    for (const v of [0, Math.round(n / 3), Math.round((2 * n) / 3), n]) svg.append(s("text", { x: x(v), y: floor + 13, "text-anchor": "middle", text: String(v) }));
    $("figure div", this.root).replaceChildren(svg);
    const worst = this.runs.filter((r) => r.lost > 0).length;
    const object = this.runs.filter((r) => r.object > 0).length;
    setText($("figcaption", this.root), `Lost per run. Naive KV lost increments in ${worst} of ${this.runs.length} runs, the object in ${object}.`);
  }
}
