// The tickets a counter handed out, in order, so that duplicates pile up. A duplicate is marked by a
// pattern and a number, not by colour alone.
import { h } from "./dom.js";
import { piles } from "./analyse.js";

const ACROSS = [8, 7, 6, 5];

/** How many chips stand in a row, so that no row holds a single one; no DOM. */
export const across = (n) => ACROSS.find((k) => n <= 1 || n % k !== 1) ?? ACROSS[0];

/** Shows tickets, and empty places up to `room`. */
export function showChips(root, tickets, room) {
  root.style.setProperty("--across", String(across(Math.max(tickets.length, room))));
  const out = piles(tickets).map(({ ticket, count }) => pile(ticket, count));
  for (let k = tickets.length; k < room; k++) out.push(h("li", { class: "pile" }, h("span", { class: "chip empty", "aria-hidden": "true" })));
  root.replaceChildren(...out);
}

function pile(ticket, count) {
  const dup = count > 1;
  const label = dup ? `ticket ${ticket}, handed out ${count} times` : `ticket ${ticket}`;
  const li = h("li", { class: dup ? "pile dups" : "pile" }, h("span", { class: "sr", text: label }));
  for (let k = 0; k < count; k++) {
    // The badge hangs on the first chip and is no part of its text.
    const badge = dup && k === 0 ? h("span", { class: "badge", "data-text": `×${count}` }) : null;
    li.append(h("span", { class: dup ? "chip dup" : "chip", "aria-hidden": "true", text: ticket }, badge));
  }
  return li;
}
