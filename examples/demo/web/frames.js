// What a frame may be believed. Everybody in a room may send any object, and it arrives here like what
// the room itself says, but always with the sender's userId added. No DOM.

const ROOM_ONLY = new Set(["owner", "pong", "people", "error"]); // the room says these without a userId

/** Whether a frame passes for the room's own. me is one's own userId: another's hello is not for us. */
export function isForged(m, me) {
  if (m.type === "hello") return m.userId !== me;
  return ROOM_ONLY.has(m.type) && Object.hasOwn(m, "userId");
}

const COLOUR = /^#[0-9a-f]{6}$/i; // anything else would be CSS of somebody else's

const text = (v, most) => (typeof v === "string" ? v.slice(0, most) : "");

/** A person as the page keeps them: four fields of the right kind, none of them long. */
export function person(m) {
  return {
    userId: text(m.userId, 64),
    name: text(m.name, 40),
    color: COLOUR.test(m.color) ? m.color : "#83928b",
    region: text(m.region, 16),
  };
}

/**
 * Who joins, or null. A real newcomer's userId is new; one that is known already can only come from that
 * person, who would be renaming themselves. So nobody can rename anybody, nor take another's place.
 */
export function newcomer(m, knows) {
  const p = person(m);
  return p.userId && !knows(p.userId) ? p : null;
}
