// The regions on a line, as far from here as their gateways are; what is owned where, and the way to the room.
import { $, s, setText } from "./dom.js";

const HEIGHT = 92;
const BASE = 58;
const PAD = 34;

const ms = (v) => (v < 10 ? `${v.toFixed(1)} ms` : `${Math.round(v)} ms`);

/** Where each region stands: [{code, x, row}] for a width; labels that would touch go to the second row. No DOM. */
export function place(regions, width) {
  const far = Math.max(1, ...regions.map((r) => r.rttMs));
  let last = -Infinity;
  let row = 0;
  return [...regions].sort((a, b) => a.rttMs - b.rttMs).map((r) => {
    const x = PAD + Math.sqrt(r.rttMs / far) * Math.max(1, width - 2 * PAD); // a root: what is near is not all in one place
    row = x - last < 74 ? 1 - row : 0;
    last = x;
    return { ...r, x, row };
  });
}

/** The classes of the objects that are owned in a region, each once. No DOM. */
export const ownedIn = (owners, region) => [...new Set(owners.filter((o) => o.region === region).map((o) => o.object.split("/")[0]))].reverse();

export class Distances {
  constructor() {
    this.root = $("#distances");
    this.regions = [];
    this.where = {};
    this.owners = [];
    this.drawn = "";
    new ResizeObserver(() => this.#draw()).observe(this.root);
  }

  setRegions(regions) {
    this.regions = regions;
    this.#draw();
  }

  /** {region, ownerRegion, rtt} as the room knows it. */
  setWay(where) {
    this.where = where;
    this.#draw();
  }

  /** [{object, region}] of all that is known to be owned. */
  setOwners(owners) {
    this.owners = owners;
    this.#draw();
  }

  #draw() {
    const { region, ownerRegion, rtt } = this.where;
    const width = Math.floor(this.root.clientWidth);
    const key = JSON.stringify([width, this.regions, region, ownerRegion, this.owners, rtt && ms(rtt)]);
    if (!width || !this.regions.length || key === this.drawn) return;
    this.drawn = key;
    const placed = place(this.regions, width);
    const [here, there] = [placed[0], placed.find((p) => p.code === ownerRegion)];
    const svg = s("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" });
    svg.append(s("line", { class: "sea", x1: here.x, x2: placed.at(-1).x, y1: BASE, y2: BASE }));
    if (there && there !== here) {
      const [a, b] = [here.x, there.x];
      svg.append(s("path", { class: "way", d: `M${a} ${BASE - 6}C${a + (b - a) / 4} 14 ${b - (b - a) / 4} 14 ${b} ${BASE - 7}` }));
      if (rtt) svg.append(s("text", { class: "way-time", x: (a + b) / 2, y: 16, "text-anchor": "middle", text: ms(rtt) }));
    }
    for (const p of placed) {
      const owned = ownedIn(this.owners, p.code);
      const owns = owned.length > 0;
      svg.append(s("circle", { class: owns ? "place owns" : "place", cx: p.x, cy: BASE, r: owns ? 7 : 5 }));
      const y = BASE + 19 + p.row * 12;
      svg.append(s("text", { class: "city", x: p.x, y, "text-anchor": "middle", text: p.city || p.code }));
      if (owns) {
        const [anchor, x] = p.x < width / 4 ? ["start", p.x - 8] : p.x > (width * 3) / 4 ? ["end", p.x + 8] : ["middle", p.x];
        svg.append(s("text", { class: "owner", x, y: BASE - 12, "text-anchor": anchor, text: owned.join(", ") }));
      }
    }
    this.root.replaceChildren(svg);
    const far = placed.slice(1).map((p) => `${p.city || p.code} is ${ms(p.rttMs)} away`);
    setText($("#distances-words"), [`You come in through ${here.city || here.code}.`, far.length ? `${far.join(", ")}.` : "", there ? `The room is owned in ${there.city || there.code}.` : ""].filter(Boolean).join(" "));
  }
}
