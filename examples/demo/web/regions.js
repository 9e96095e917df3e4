// The gateways that there are: asked for again and again, since one that joins tells nobody.
import { $, h } from "./dom.js";

const EVERY = 10000;

/** Calls on(regions) with what changed, this gateway first; regions are {code, city, url, rttMs}. */
export function watchRegions(on) {
  let last = "";
  const ask = async () => {
    if (document.hidden) return;
    try {
      const res = await fetch("/regions", { cache: "no-store" });
      if (!res.ok) return;
      const regions = await res.json();
      const key = regions.map((r) => `${r.code} ${r.url}`).join();
      if (key !== last) on(regions);
      last = key;
    } catch (_) {
      // The gateway is away; the room's pill says so.
    }
  };
  ask();
  setInterval(ask, EVERY);
  document.addEventListener("visibilitychange", ask);
}

/** Links to the same room through the other gateways. */
export function offerRegions(regions) {
  const others = regions.filter((r) => r.url && new URL(r.url, location).host !== location.host);
  $("#regions").hidden = others.length === 0;
  $("#regions ul").replaceChildren(...others.map((r) => {
    const url = new URL(r.url, location);
    url.search = location.search;
    const link = h("a", { href: url.href, target: "_blank", rel: "noopener" }, h("b", { text: r.code }), r.city || "");
    return h("li", null, link);
  }));
}
