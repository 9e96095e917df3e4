// One column of the race: everything that is said about one counter.
import { $, h, setText } from "./dom.js";
import { showChips } from "./chips.js";
import { Lanes } from "./lanes.js";
import { showTable } from "./table.js";
import { history, tickets } from "./analyse.js";
import { valueAt } from "./geometry.js";

const ms = (us) => (us < 9950 ? `${(us / 1000).toFixed(1)} ms` : `${Math.round(us / 1000)} ms`);

const HINT = "Pick a lane (point, tap or ↑ ↓) to hear its story.";
const UNSEEN = "Fired by this browser: what happens inside cannot be seen from here.";

export class Column {
  constructor(root, id, label) {
    this.root = root;
    this.label = label;
    this.number = $(".number", root);
    this.stats = $(".stats", root);
    this.chips = $(".chips", root);
    this.trouble = $(".trouble", root);
    this.lanes = new Lanes($(".timeline", root), id, `Timeline of ${label}. Up and down go through the requests.`);
    this.table = $(".as-table", root);
    this.value = undefined;
    this.claims = [];
    this.run = null;
  }

  /** The stored value as last known, outside a run. */
  setValue(value) {
    this.value = value;
    setText(this.number, value === undefined || value === null ? "–" : String(value));
  }

  /** Something about the counter itself that is not a result, such as an owner that is moving. */
  setTrouble(text) {
    setText(this.trouble, text);
    this.trouble.hidden = !text;
  }

  /** Nothing has run yet, or everything was reset. `n` places stay open. */
  showEmpty(n) {
    this.run = null;
    this.claims = [];
    setText(this.stats, "No run yet.");
    showChips(this.chips, [], n);
    this.lanes.show(null, "");
    this.table.replaceChildren(h("p", { text: "No run yet." }));
  }

  /** While a run streams in: tickets as they come. */
  showProgress(attempts, n) {
    this.run = null;
    this.claims = [];
    setText(this.stats, `${attempts.length} of ${n} answered`);
    showChips(this.chips, tickets(attempts), n);
  }

  /**
   * A finished run; maxUs is the scale it shares with the other column. Its result, the stored value among
   * it, is told when the end has been on show for the first time: a film whose end is known is not watched.
   */
  showRun(attempts, verdict, maxUs, { faster = "", faults = [] } = {}) {
    this.run = { attempts, verdict, faster, writes: history(attempts, verdict.before), maxUs, n: attempts.length, told: false };
    this.claims = [];
    this.shown = "";
    this.lanes.us = Infinity;
    const seen = attempts.some((a) => a.tries?.length);
    this.lanes.show({ attempts, before: verdict.before, maxUs, faults }, seen ? HINT : UNSEEN);
    showTable(this.table, attempts, `Requests to ${this.label}`);
  }

  /** The column at one moment of the run. */
  at(us) {
    if (!this.run) return;
    const { attempts, verdict, writes, maxUs, n } = this.run;
    const over = us >= maxUs;
    const answered = over ? attempts : attempts.filter((a) => a.answeredUs <= us);
    this.lanes.at(us);
    if (over && !this.run.told) {
      this.run.told = true;
      this.#stats(verdict, attempts, this.run.faster);
    }
    if (!this.run.told) {
      this.setValue(verdict.before);
      setText(this.stats, `${answered.length} of ${n} answered`);
    } else {
      const value = writes.length && !over ? valueAt(writes, verdict.before, us) : verdict.after;
      this.setValue(over && this.claims.length ? this.claims[this.claims.length - 1] : value);
    }
    const key = `${answered.length}.${this.claims.length}.${over}`;
    if (key === this.shown) return;
    this.shown = key;
    showChips(this.chips, [...tickets(answered), ...(over ? this.claims : [])], over ? 0 : n);
  }

  /** A single claim was answered. */
  addClaim(ticket, n) {
    this.claims.push(ticket);
    const all = [...(this.run ? tickets(this.run.attempts) : []), ...this.claims];
    showChips(this.chips, all, this.run ? 0 : n);
    this.shown = "";
    this.setValue(ticket);
  }

  #stats(v, attempts, faster) {
    const tooMany = attempts.filter((a) => a.code === "too_many").length;
    const cell = (text, kind) => h("span", { class: kind, text });
    const out = [cell(`${v.asked} asked`), cell(`${v.distinct} distinct`)];
    if (v.duplicates) out.push(cell(`${v.duplicates} duplicate${v.duplicates === 1 ? "" : "s"}`, "bad"));
    if (v.lost) out.push(cell(`${v.lostMax > v.lost ? `${v.lost} to ${v.lostMax}` : v.lost} lost`, "bad"));
    else if (v.lostMax) out.push(cell(`at most ${v.lostMax} lost`, "warn"));
    if (v.gaps) out.push(cell(`${v.gaps} skipped`, "bad"));
    if (v.cached) out.push(cell(`${v.cached} read from a cache`, "warn"));
    if (v.refused) out.push(cell(`${v.refused} not executed${tooMany ? ` (${tooMany} × 429)` : ""}`, "warn"));
    if (v.unknown) out.push(cell(`${v.unknown} unknown`, "warn"));
    if (v.attempts > v.asked) out.push(cell(`${v.attempts} attempts`, "warn"));
    const time = h("span", { class: "times", text: `p50 ${ms(v.p50Us)} · p99 ${ms(v.p99Us)}` });
    if (faster) time.append(h("em", { text: faster }));
    this.stats.replaceChildren(...out, time);
    this.shown = "";
  }
}
