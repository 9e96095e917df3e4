// Who owns what: every answer of an object names its owner.
import { $, h } from "./dom.js";

const SHOWN = 7;

export class Owners {
  /** changed(owners) is told of every change: [{object, host, region, epoch}], the newest first. */
  constructor(changed) {
    this.changed = changed;
    this.list = $("#owners");
    this.all = new Map(); // object -> {host, region, epoch}
  }

  /** by is {host, region, epoch}. What an earlier owner said comes too late. */
  note(object, by) {
    const known = this.all.get(object);
    if (!by.host || (known && known.epoch >= by.epoch && known.host === by.host) || known?.epoch > by.epoch) return;
    this.all.delete(object);
    this.all.set(object, by);
    const newest = [...this.all].reverse().slice(0, SHOWN).map(([name, o]) => ({ object: name, ...o }));
    this.all = new Map([...this.all].slice(-SHOWN));
    this.list.replaceChildren(...newest.map((o) => h("li", null, h("b", { text: o.object }), ` ${o.host}, epoch ${o.epoch}`)));
    this.changed(newest);
  }

  /** Takes an owner as an answer's header names it, "fra-1 (fra)". */
  noteHeader(object, owner, epoch) {
    this.note(object, readOwner(owner, epoch));
  }
}

/** {host, region, epoch} of "fra-1 (fra)"; no DOM. */
export function readOwner(owner, epoch) {
  const parts = /^(.+) \(([^()]+)\)$/.exec(owner || "");
  return { host: parts ? parts[1] : "", region: parts ? parts[2] : "", epoch: epoch || 0 };
}
