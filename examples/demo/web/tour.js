// A tour of seven steps. Each has a check: what the page sees happen ticks it, and nobody else can.
import { $, h, setText } from "./dom.js";

const KEY = "holdfast.tour";

// [name, what to do]; the name is what a check is told by.
const STEPS = [
  ["meet", "Open this page in another tab, and move the pointer in both.", "Two people, one object: every move goes through the room's one owner."],
  ["lose", "Press Stress test: fifteen people ask for a ticket at once.", "KV gave one ticket to many, and said nothing."],
  ["cas", "Switch on Fix KV with compare-and-set, and race again.", "Right, and paid for: every refused write was work for nothing."],
  ["crash", "Press Crash it: the counter's owner dies in the midst of a race.", "The next owner went on under the next epoch; the dead one's last write was refused."],
  ["ocean", "Open the page in another region, below under Cross the ocean.", "Another gateway, the same owner: the pill shows the way there."],
  ["stale", "Press Stale read: two regions race, and KV reads through a cache of each.", "A region sold again what it had read long before."],
  ["sleep", "Leave the mouse alone for fifteen seconds, until the room is asleep; then move.", "It left memory, woke for you, and your socket was there all the time."],
];

export class Tour {
  /** `can` names the steps that are possible here: nothing can be killed outside of dev. */
  constructor(can) {
    this.steps = STEPS.filter(([name]) => can(name));
    this.done = new Set(recall());
    this.list = $("#tour ol");
    this.items = new Map(this.steps.map(([name, what]) => [name, h("li", { "data-step": name }, h("span", { class: "tick", "aria-hidden": "true" }), h("span", { class: "what", text: what }))]));
    this.list.replaceChildren(...this.items.values());
    $("#tour").hidden = false;
    $("#tour-again").addEventListener("click", () => {
      this.done.clear();
      this.#show();
    });
    this.#show();
  }

  /** The page has seen a step happen. */
  check(name) {
    if (!this.items.has(name) || this.done.has(name)) return;
    this.done.add(name);
    const [, , learnt] = this.steps.find(([n]) => n === name);
    setText($("#tour-spoken"), `Step done. ${learnt}`);
    this.#show();
  }

  #show() {
    remember([...this.done]);
    for (const [name, what, learnt] of this.steps) {
      const item = this.items.get(name);
      const done = this.done.has(name);
      item.dataset.done = done;
      setText($(".what", item), done ? learnt : what);
      item.setAttribute("aria-label", `${done ? "Done" : "To do"}: ${done ? learnt : what}`);
    }
    const count = this.steps.filter(([name]) => this.done.has(name)).length;
    const next = this.steps.find(([name]) => !this.done.has(name));
    setText($("#tour-count"), `Tour ${count} of ${this.steps.length}`);
    setText($("#tour-next"), next ? next[1] : "You have seen it all.");
    $("#tour progress").max = this.steps.length;
    $("#tour progress").value = count;
  }
}

function recall() {
  try {
    const done = JSON.parse(localStorage.getItem(KEY) || "[]");
    return Array.isArray(done) ? done.filter((name) => STEPS.some(([n]) => n === name)) : [];
  } catch (_) {
    return []; // the tour begins anew
  }
}

function remember(done) {
  try {
    localStorage.setItem(KEY, JSON.stringify(done));
  } catch (_) {
    // The ticks hold for this page.
  }
}

/** The steps that a finished run has shown; no DOM. `shown` is what the right column shows of it. */
export function seenIn(run, shown) {
  const seen = [];
  const naive = run.naive.verdict;
  const wrong = naive.lost > 0 || naive.duplicates > 0;
  if (shown === "naive" && wrong) seen.push("lose");
  if (shown === "cas" && run.cas.verdict.lost === 0 && run.cas.verdict.duplicates === 0) seen.push("cas");
  if (run.object.faults.some((f) => f.what === "killed") && new Set(run.object.attempts.map((a) => a.epoch).filter(Boolean)).size > 1) seen.push("crash");
  if (naive.cached > 0 && wrong) seen.push("stale");
  return seen;
}
