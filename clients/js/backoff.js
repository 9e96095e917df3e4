// What a close code asks of us, and how long to wait before the next try. No DOM, no clock.
// The codes are those of Holdfast's one table for HTTP status, close code and exit code.

const FIRST = 250;
const CAP = 8000;

/**
 * soon     the gateway restarts or lets go: come back at once
 * backoff  something broke: come back, slower each time
 * fault    like backoff, and the close reason carries a reference to show
 * later    we were too many or too fast
 * refused  coming back would get the same answer: a person decides
 */
export function readClose(code) {
  switch (code) {
    case 1012:
      return "soon";
    case 1011:
      return "fault";
    case 4429:
      return "later";
    case 1000: // the object said goodbye
    case 1008: // a policy forbids it
    case 1009: // our frame was too large: the next one would be as well
      return "refused";
  }
  return code >= 4000 && code <= 4999 ? "refused" : "backoff";
}

/**
 * Milliseconds until the try number `attempt` (0 is the first after a loss). Full jitter: a hundred
 * clients that lost the same gateway must not come back in the same millisecond. "soon" holds only for
 * the first try: a gateway that accepts and drains at once would otherwise be hammered.
 */
export function delay(kind, attempt, random = Math.random) {
  if (kind === "soon" && attempt === 0) return Math.round(random() * 250);
  if (kind === "later") return Math.round(5000 + random() * 5000);
  return Math.round(random() * Math.min(CAP, FIRST * 2 ** attempt));
}

const REASONS = {
  1000: "The other side said goodbye.",
  1008: "A policy of the server forbids it.",
  1009: "A message was too large.",
  4400: "The message was not understood.",
  4401: "You need to sign in first.",
  4403: "You may not connect here.",
  4404: "There is nothing of that name here.",
  4429: "Too many at once.",
};

/** A sentence for a person: what the server said, else what the code means. */
export function sayClose(code, reason) {
  return reason || REASONS[code] || `The connection was closed (${code}).`;
}
