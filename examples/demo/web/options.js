// The settings of a race: the panel behind "Options", and the line that sums them up.
import { $, h, setText } from "./dom.js";

/** Returns the text beside "Options"; no DOM. */
export function sumUp({ fired, from, gapMs, spreadMs, ttlS, limit }) {
  const parts = [`gap ${gapMs} ms`];
  if (spreadMs) parts.push(`over ${sayMs(spreadMs)}`);
  if (ttlS) parts.push(`KV cache ${ttlS} s`);
  if (limit) parts.push("1 write/s");
  if (fired === "browser") parts.push("fired by this browser");
  else if (from.length > 1) parts.push(`from ${from.join(", ")}`);
  return parts.join(", ");
}

const sayMs = (v) => (v < 1000 ? `${v} ms` : `${v / 1000} s`);

export class Options {
  /** config is the gateway's: its region, the default gap. */
  constructor(config) {
    this.panel = $("#options");
    this.button = $("#options-toggle");
    this.here = config.region || "";
    $("#gap").value = String(config.gapMs ?? 20);
    this.usual = null; // the line's text for the default settings
    this.button.addEventListener("click", () => {
      this.panel.hidden = !this.panel.hidden;
      this.button.setAttribute("aria-expanded", String(!this.panel.hidden));
    });
    slider($("#gap"), sayMs);
    slider($("#spread"), sayMs);
    slider($("#ttl"), (v) => (v ? `${v} s` : "none"));
    this.panel.addEventListener("input", () => this.#changed());
    this.setRegions([{ code: this.here }]);
  }

  /** The regions that can fire, this one first; the ticks of those that stay are kept. */
  setRegions(regions) {
    const ticked = new Set(this.read().from);
    const box = (r) => h("input", { type: "checkbox", name: "from", value: r.code, checked: r.code === this.here || ticked.has(r.code) });
    const labels = regions.map((r) => h("label", { title: r.city || r.code }, box(r), ` ${r.code}`));
    $("#from div").replaceChildren(...labels);
    $("#from").hidden = regions.length < 2;
    this.#changed();
  }

  /** This region, and another if there is one. */
  two() {
    const others = [...document.querySelectorAll("[name=from]")].map((box) => box.value).filter((code) => code !== this.here);
    return [this.here, ...others.slice(0, 1)].filter(Boolean);
  }

  read() {
    return {
      fired: $("[name=fired]:checked").value,
      from: [...document.querySelectorAll("[name=from]:checked")].map((box) => box.value),
      gapMs: Number($("#gap").value),
      spreadMs: Number($("#spread").value),
      ttlS: Number($("#ttl").value),
      limit: $("#limit").checked,
    };
  }

  #changed() {
    const now = this.read();
    $("#from").disabled = now.fired === "browser";
    const text = sumUp(now);
    this.usual ??= text;
    setText($("#options-now"), text);
    $("#options-now").dataset.usual = text === this.usual;
  }
}

function slider(input, say) {
  const out = $(`output[for=${input.id}]`);
  const show = () => {
    const text = say(Number(input.value));
    setText(out, text);
    input.setAttribute("aria-valuetext", text);
    input.style.setProperty("--at", `${((input.value - input.min) / (input.max - input.min)) * 100}%`);
  };
  input.addEventListener("input", show);
  show();
}
