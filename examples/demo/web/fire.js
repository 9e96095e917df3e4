// Firing a run from this browser. It speaks the same lines as the gateway's stream, so the rest of the
// page does not know who fired.
//
// HTTP/1.1 gives a page about six connections to one origin, so this is a race six wide, and the counters
// take turns: side by side they would wait for each other's connections. What happens inside the counter
// cannot be seen from here: attempts have no tries.
import { judge } from "./verdict.js";

/** do.claim(counter) -> {ticket, attempts}, do.peek(counter) -> n, do.now() -> ms, do.sleep(ms). */
export async function* fire({ counters, n, gapMs, spreadMs }, doing, random = Math.random) {
  yield { type: "start", counters, n, gapMs, spreadMs };
  for (const counter of counters) {
    const before = await doing.peek(counter);
    const arrivals = Array.from({ length: n }, () => random() * spreadMs);
    const t0 = doing.now();
    const us = () => Math.round((doing.now() - t0) * 1000);
    const flying = new Map(arrivals.map((wait, i) => [i, one(counter, i, wait)]));
    const done = [];
    while (flying.size) {
      const attempt = await Promise.race(flying.values());
      flying.delete(attempt.i);
      done.push(attempt);
      yield attempt;
    }
    yield judge(counter, done, before, await doing.peek(counter));

    async function one(name, i, wait) {
      if (wait) await doing.sleep(wait);
      const attempt = { type: "attempt", counter: name, i, sentUs: us(), tries: [], attempts: 1 };
      try {
        const answer = await doing.claim(name);
        Object.assign(attempt, { outcome: "ok", ticket: answer.ticket, attempts: answer.attempts || 1 });
      } catch (err) {
        Object.assign(attempt, { outcome: err.outcome || "unknown", error: err.message, code: err.code });
      }
      attempt.answeredUs = us();
      return attempt;
    }
  }
  yield { type: "done" };
}
