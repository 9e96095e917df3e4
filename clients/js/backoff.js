// The reaction to a close code, and the wait before the next try. No DOM, no clock.
// The codes are those of Holdfast's one table for HTTP status, close code and exit code.

const FIRST = 250;
const CAP = 8000;

/**
 * soon     the gateway restarts: come back at once
 * backoff  something broke: come back, slower each time
 * fault    like backoff, and the close reason carries a reference to show
 * later    too many connections, or too many messages
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
    case 1000: // the object has closed the socket
    case 1008: // a policy forbids it
    case 1009: // the client's message was too large, and would be again
      return "refused";
  }
  return code >= 4000 && code <= 4999 ? "refused" : "backoff";
}

/**
 * Milliseconds until the try number `attempt` (0 is the first after a loss). Full jitter: a hundred
 * clients that lost the same gateway must not come back in the same millisecond. "soon" applies only to
 * the first try: otherwise clients would flood a gateway that accepts connections and drains at once.
 */
export function delay(kind, attempt, random = Math.random) {
  if (kind === "soon" && attempt === 0) return Math.round(random() * 250);
  if (kind === "later") return Math.round(5000 + random() * 5000);
  return Math.round(random() * Math.min(CAP, FIRST * 2 ** attempt));
}

const REASONS = {
  1000: "The server has closed the connection.",
  1008: "A policy of the server forbids it.",
  1009: "A message was too large.",
  4400: "The message was not understood.",
  4401: "You need to sign in first.",
  4403: "You may not connect here.",
  4404: "There is nothing with that name here.",
  4429: "Too many at once.",
};

/** A sentence for a person: the server's reason or, without one, the meaning of the code. */
export function sayClose(code, reason) {
  return reason || REASONS[code] || `The connection was closed (${code}).`;
}
