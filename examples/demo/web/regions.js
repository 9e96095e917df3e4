// The gateways that there are: asked for again and again, since one that joins tells nobody.
import { route } from "/client/index.js";
import { $, h } from "./dom.js";
import { toast } from "./toast.js";

const EVERY = 5000;

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

/** Links to the same room through the other gateways; `cut` adds a button that cuts a region off. */
export function offerRegions(regions, cut) {
  const others = regions.filter((r) => r.url && new URL(r.url, location).host !== location.host);
  $("#regions").hidden = others.length === 0;
  $("#gateways").replaceChildren(...others.map((r) => {
    const url = new URL(r.url, location);
    url.search = location.search;
    const link = h("a", { href: url.href, target: "_blank", rel: "noopener" }, h("b", { text: r.code }), r.city || "");
    return h("li", null, link, cut ? h("button", { type: "button", class: "quiet", onclick: () => cutOff(r.code) }, "Cut off", h("span", { class: "sr", text: ` ${r.code}` })) : "");
  }));
}

const cut = route("POST", "/cut/:region", { retry: false });

async function cutOff(region) {
  try {
    const { value } = await cut({ region });
    toast(`Nothing reaches ${region}, or leaves it, for ${value.ms / 1000} s. What is asked there waits; what it owns moves when its lease runs out.`, value.ms);
  } catch (err) {
    toast(`${region} was not cut off: ${err.message}.`, 6000);
  }
}
