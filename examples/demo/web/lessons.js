// The code that runs, beside the texts about it.
import { h } from "./dom.js";
import { colour } from "./gosource.js";

/** Fills every place for a source with what the gateway says that it runs: {name: text}. */
export function showSources(sources = {}) {
  for (const pre of document.querySelectorAll("pre[data-source]")) {
    const code = h("code");
    for (const part of colour(sources[pre.dataset.source] || "The source is not here.")) {
      code.append(part.kind ? h("span", { class: `go-${part.kind}`, text: part.text }) : part.text);
    }
    pre.replaceChildren(code);
    scroll(pre);
    pre.closest("details")?.addEventListener("toggle", () => scroll(pre), { once: true }); // what is closed cannot scroll
  }
}

// What matters is in sight; what stands before it is there to be scrolled to.
function scroll(pre) {
  const line = pre.textContent.split("\n").findIndex((text) => text.includes(pre.dataset.at));
  pre.scrollTop = Math.max(0, line) * parseFloat(getComputedStyle(pre).lineHeight);
}
