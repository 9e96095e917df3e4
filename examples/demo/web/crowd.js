// Words about who is here. No DOM: the presence list and the announcements are built from these.

/** "amber-otter" as people read it. */
export const sayName = (name) => String(name || "someone").replaceAll("-", " ");

/** The letters on a visitor's avatar: the animal's first two, since the adjective is the colour. */
export function initials(name) {
  const last = String(name || "?").split("-").pop();
  return (last[0] || "?").toUpperCase() + last.slice(1, 2);
}

/** What the list says behind a name. */
export function sayWhere(peer, idleMs) {
  const parts = [];
  if (peer.region) parts.push(`in ${peer.region}`);
  if (peer.away) parts.push("looking elsewhere");
  else if (idleMs >= 60000) parts.push(`idle ${Math.floor(idleMs / 60000)} min`);
  else if (idleMs >= 10000) parts.push(`idle ${Math.floor(idleMs / 10000) * 10} s`);
  return parts.join(", ");
}

/**
 * Gathers joins and leaves so that they are spoken at most once every three seconds: one by name,
 * several as a number. Someone who joined and left in between is not spoken of.
 */
export class Announcer {
  constructor(say, { every = 3000, setTimeout: later = (fn, ms) => globalThis.setTimeout(fn, ms) } = {}) {
    Object.assign(this, { say, every, later });
    this.joined = new Map();
    this.left = new Map();
    this.waiting = false;
  }

  join(userId, name) {
    if (!this.left.delete(userId)) this.joined.set(userId, name);
    this.#soon();
  }

  leave(userId, name) {
    if (!this.joined.delete(userId)) this.left.set(userId, name);
    this.#soon();
  }

  #soon() {
    if (this.waiting) return;
    this.waiting = true;
    this.later(() => {
      this.waiting = false;
      const text = [count(this.joined, "joined"), count(this.left, "left")].filter(Boolean).join(" ");
      this.joined.clear();
      this.left.clear();
      if (text) this.say(text);
    }, this.every);
  }
}

function count(people, verb) {
  if (people.size === 0) return "";
  if (people.size > 1) return `${people.size} people ${verb}.`;
  return `${sayName([...people.values()][0])} ${verb}.`;
}
