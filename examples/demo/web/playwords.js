// What the panels say. No DOM.

/** What a round came to. */
export function sayRank(points, { points: best, rank }) {
  return points === best ? `${points} points: your best, and rank ${rank}.` : `${points} points. Your best is ${best}, rank ${rank}.`;
}

/** What a refusal says. */
export function sayLimited(details, now) {
  const left = Math.ceil((Date.parse(details?.at) - now) / 1000);
  return `Refused: 429. Its alarm gives all five back${left > 0 ? ` in ${left} s` : " in a moment"}.`;
}

/** What all presses came to. */
export function sayPaid(receipts) {
  const different = new Set(receipts).size;
  if (!receipts.length) return "Nothing is paid yet.";
  const presses = receipts.length === 1 ? "One press" : `${receipts.length} presses`;
  return `${presses}, ${different === 1 ? "one charge" : `${different} charges`}.`;
}

/** How a job is. */
export function sayJob({ id, state, tries, why, next }, now) {
  const left = Math.max(0, Math.ceil((Date.parse(next) - now) / 1000));
  const tried = tries === 1 ? "at the first try" : `after ${tries} tries`;
  if (state === "done") return `${id}: done ${tried}`;
  if (state === "failed") return `${id}: given up ${tried}`;
  if (why) return `${id}: ${why}; its timer rings in ${left} s`;
  return `${id}: at work`;
}
