// The timeline as a table: the same facts for those who do not use the picture.
import { h } from "./dom.js";
import { inOrder } from "./analyse.js";

const ms = (us) => (us === undefined || us === null ? "–" : (us / 1000).toFixed(1));

const OUTCOMES = { ok: "answered", refused: "not executed", unavailable: "not executed", unknown: "unknown" };

export function showTable(root, attempts, title) {
  const head = ["Request", "Read", "Wrote", "Tries", "Took, ms", "Outcome"];
  const rows = inOrder(attempts).map((a, k) => {
    const last = a.tries?.[a.tries.length - 1];
    const outcome = a.outcome === "ok" ? `ticket ${a.ticket}` : OUTCOMES[a.outcome] || a.outcome;
    return [`#${k + 1}`, last?.read ?? "–", last?.wrote ?? "–", a.tries?.length || a.attempts || 1, ms(a.answeredUs - a.sentUs), outcome];
  });
  root.replaceChildren(
    h(
      "table",
      null,
      h("caption", { class: "sr", text: title }),
      h("thead", null, h("tr", null, ...head.map((t) => h("th", { scope: "col", text: t })))),
      h("tbody", null, ...rows.map((r) => h("tr", null, ...r.map((t, k) => (k ? h("td", { text: t }) : h("th", { scope: "row", text: t })))))),
    ),
  );
}
