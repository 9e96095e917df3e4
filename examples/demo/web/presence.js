// The people present: the accessible list under the stage, and the avatars in the header.
import { $, h, setText } from "./dom.js";
import { Announcer, initials, sayName, sayWhere } from "./crowd.js";

const SHOWN = 5; // avatars in the header; the others become a number that leads to the list

export class Presence {
  constructor() {
    this.list = $("#presence");
    this.avatars = $("#avatars");
    this.items = new Map(); // userId -> li
    this.people = new Map(); // userId -> {userId, name, color, region, away, seen}
    this.me = null;
    this.count = 0;
    this.more = h("li", { class: "and-more", hidden: true });
    this.list.append(this.more);
    this.announcer = new Announcer((text) => setText($("#crowd-spoken"), text));
    setInterval(() => this.#refresh(), 5000);
  }

  /** Begins anew with the people of a hello. People who were in the list before keep their place. */
  reset(me, peers) {
    this.me = me;
    const now = performance.now();
    const next = [me, ...peers].map((p) => ({ ...this.people.get(p.userId), ...p, seen: now }));
    this.people = new Map(next.map((p) => [p.userId, p]));
    for (const id of [...this.items.keys()]) if (!this.people.has(id)) this.#remove(id);
    for (const p of next) this.#item(p);
    this.setCount(this.people.size);
  }

  /** Sets the number of people; in a large room the list has only some of them. */
  setCount(count) {
    this.count = count;
    const more = count - this.people.size;
    setText($("#headcount"), count.toLocaleString("en"));
    setText(this.more, more > 0 ? `and ${more.toLocaleString("en")} more` : "");
    this.more.hidden = more <= 0;
    this.#avatars();
  }

  add(peer) {
    this.people.set(peer.userId, { ...peer, seen: performance.now() });
    this.#item(peer);
    this.setCount(this.count);
  }

  drop(userId) {
    this.people.delete(userId);
    this.#remove(userId);
    this.setCount(this.count);
  }

  /** Announces soon that a person came or left. */
  announce(peer, came) {
    if (came) this.announcer.join(peer.userId, peer.name);
    else this.announcer.leave(peer.userId, peer.name);
  }

  active(userId, away) {
    const peer = this.people.get(userId);
    if (!peer) return;
    const was = peer.away;
    peer.seen = performance.now();
    if (away !== undefined) peer.away = away;
    if (was !== peer.away) {
      this.#refresh();
      this.#avatars();
    }
  }

  #item(peer) {
    if (this.items.has(peer.userId)) return;
    const mine = peer.userId === this.me.userId;
    const li = h(
      "li",
      { "data-user": peer.userId, class: mine ? "mine" : null },
      this.#disc(peer),
      h("span", { class: "who", text: mine ? `${sayName(peer.name)} (you)` : sayName(peer.name) }),
      h("span", { class: "where" }),
    );
    this.items.set(peer.userId, li);
    if (mine) this.list.prepend(li);
    else this.more.before(li);
    this.#refresh();
  }

  #disc(peer) {
    const disc = h("span", { class: "disc", "aria-hidden": "true", "data-letters": initials(peer.name) });
    disc.style.setProperty("--who", peer.color);
    if (peer.away) disc.classList.add("away");
    return disc;
  }

  #remove(userId) {
    this.items.get(userId)?.remove();
    this.items.delete(userId);
  }

  #refresh() {
    const now = performance.now();
    for (const [id, li] of this.items) {
      const peer = this.people.get(id);
      const idle = id === this.me.userId ? 0 : now - peer.seen;
      setText(li.querySelector(".where"), sayWhere(peer, idle));
      li.querySelector(".disc").classList.toggle("away", !!peer.away);
    }
  }

  #avatars() {
    const people = [...this.people.values()];
    const discs = people.slice(0, SHOWN).map((p) => this.#disc(p));
    if (this.count > SHOWN) discs.push(h("span", { class: "disc more", "aria-hidden": "true", "data-letters": `+${brief(this.count - SHOWN)}` }));
    this.avatars.replaceChildren(...discs);
    this.avatars.setAttribute("aria-label", `${this.count} here, see the list`);
  }
}

/** A number in the room of an avatar; no DOM. */
export const brief = (n) => (n < 1000 ? String(n) : `${Math.floor(n / 1000)}k`);
