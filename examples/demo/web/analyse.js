// What happened to one counter in a run, worked out from the timelines of its requests. No DOM.
//
// All times are microseconds on the one clock of the process that fired. A write is blind when the
// value it replaced is not the value its request had read: in between somebody else wrote, and that
// write is gone. This is the whole lesson of the page, so it is computed, not assumed.

/** The value an attempt stored, with when and over what it thought. An object stores when it answers. */
function writesOf(attempt) {
  const object = attempt.counter === "object";
  return (attempt.tries || [])
    .filter((t) => !t.refused && t.wrote !== undefined && t.wrote !== null)
    .filter((t) => object || t.wroteUs > 0)
    .map((t) => ({ i: attempt.i, read: t.read, readUs: t.readUs, wrote: t.wrote, at: object ? attempt.answeredUs : t.wroteUs }));
}

/**
 * The stored value over time: [{i, read, wrote, at, before, victim}] in order of writing. `victim` is the
 * request whose write this one destroyed, if it was blind and somebody in this run wrote before it.
 */
export function history(attempts, before = 0) {
  const writes = attempts.flatMap(writesOf);
  if (attempts[0]?.counter === "object") unscramble(writes);
  writes.sort((a, b) => a.at - b.at || a.wrote - b.wrote);
  let value = before;
  let writer;
  for (const w of writes) {
    w.before = value;
    w.blind = w.read !== value;
    w.victim = w.blind ? writer : undefined;
    value = w.wrote;
    writer = w.i;
  }
  return writes;
}

/**
 * Answers overtake each other on the way to the client; the writes they tell of cannot. A ticket had
 * been written, at the latest, when any later ticket was answered.
 */
function unscramble(writes) {
  let latest = Infinity;
  for (const w of [...writes].sort((a, b) => b.wrote - a.wrote)) w.at = latest = Math.min(latest, w.at);
}

/**
 * Lanes in the order in which requests reached the counter: for an object that of its tickets, since
 * its inbox decided it; else that of the first read, and without reads that of sending.
 */
export function inOrder(attempts) {
  const key = (a) => {
    if (a.counter === "object" && a.ticket) return a.ticket;
    if (a.counter === "object") return Infinity;
    return a.tries?.[0]?.readUs ?? a.sentUs;
  };
  return [...attempts].sort((a, b) => compare(key(a), key(b)) || a.sentUs - b.sentUs || a.i - b.i);
}

const compare = (a, b) => (a === b ? 0 : a < b ? -1 : 1);

/** Tickets in order, each with how many requests were given it. */
export function piles(tickets) {
  const counts = new Map();
  for (const t of tickets) counts.set(t, (counts.get(t) || 0) + 1);
  return [...counts].sort((a, b) => a[0] - b[0]).map(([ticket, count]) => ({ ticket, count }));
}

export const tickets = (attempts) => attempts.filter((a) => a.outcome === "ok").map((a) => a.ticket);

const ms = (us) => `${(us / 1000).toFixed(1)} ms`;

/** One request's story in a sentence. `name` turns an index into what people call the request. */
export function story(attempt, writes, name = (i) => `#${i + 1}`) {
  const me = name(attempt.i);
  if (attempt.outcome === "unknown") return `${me} got no answer in time: it may or may not have counted.`;
  if (attempt.code === "too_many") return `${me} was refused: 429, the key was written less than a second ago. Nothing was written, so nothing is lost.`;
  if (attempt.outcome !== "ok") return `${me} was not executed (${attempt.error || attempt.outcome}). That is not a lost increment.`;
  if (attempt.counter === "object") {
    return `${me} waited its turn in the object's inbox and got ticket ${attempt.ticket} after ${ms(attempt.answeredUs - attempt.sentUs)}.`;
  }
  const tries = attempt.tries || [];
  if (!tries.length) return `${me} got ticket ${attempt.ticket} after ${ms(attempt.answeredUs - attempt.sentUs)}.`;
  const last = tries[tries.length - 1];
  const mine = writes.find((w) => w.i === attempt.i);
  const where = last.cached ? ` from the cache in ${attempt.region}` : "";
  let text = `${me} read ${last.read}${where} at ${ms(last.readUs)}, wrote ${last.wrote} at ${ms(last.wroteUs)}.`;
  if (tries.length > 1) text = `${me} was refused ${times(tries.length - 1)}, then ${text.slice(me.length + 1)}`;
  if (mine?.blind && mine.victim !== undefined) {
    const victim = name(mine.victim);
    text += ` By then ${victim} had already written ${mine.before}, so ${victim}'s increment is gone.`;
  } else if (mine?.blind) {
    text += ` By then the value was ${mine.before}: an increment from outside this run is gone.`;
  }
  return text;
}

const times = (n) => (n === 1 ? "once" : n === 2 ? "twice" : `${n} times`);
