// Who is here: the list under the stage, which is the accessible truth, and the avatars in the header.
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
    this.announcer = new Announcer((text) => setText($("#crowd-spoken"), text));
    setInterval(() => this.#refresh(), 5000);
  }

  /** Starts over with what hello said. Whoever was here before and still is keeps their place. */
  reset(me, peers) {
    this.me = me;
    const now = performance.now();
    const next = [me, ...peers].map((p) => ({ ...this.people.get(p.userId), ...p, seen: now }));
    this.people = new Map(next.map((p) => [p.userId, p]));
    for (const id of [...this.items.keys()]) if (!this.people.has(id)) this.#drop(id);
    for (const p of next) this.#item(p);
    this.#counts();
  }

  join(peer) {
    this.people.set(peer.userId, { ...peer, seen: performance.now() });
    this.#item(peer);
    this.#counts();
    this.announcer.join(peer.userId, peer.name);
  }

  leave(userId) {
    const peer = this.people.get(userId);
    if (!peer) return;
    this.people.delete(userId);
    this.#drop(userId);
    this.#counts();
    this.announcer.leave(userId, peer.name);
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
    else this.list.append(li);
    this.#refresh();
  }

  #disc(peer) {
    const disc = h("span", { class: "disc", "aria-hidden": "true", "data-letters": initials(peer.name) });
    disc.style.setProperty("--who", peer.color);
    if (peer.away) disc.classList.add("away");
    return disc;
  }

  #drop(userId) {
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

  #counts() {
    setText($("#headcount"), String(this.people.size));
    this.#avatars();
  }

  #avatars() {
    const people = [...this.people.values()];
    const discs = people.slice(0, SHOWN).map((p) => this.#disc(p));
    if (people.length > SHOWN) discs.push(h("span", { class: "disc more", "aria-hidden": "true", "data-letters": `+${people.length - SHOWN}` }));
    this.avatars.replaceChildren(...discs);
    this.avatars.setAttribute("aria-label", `${people.length} here, see the list`);
  }
}
