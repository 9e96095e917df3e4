// The verdict on one counter, for runs that this browser fired: a gateway-fired run brings its own.
// Same fields, same rules. No DOM.
import { piles, tickets } from "./analyse.js";

/** The value below which p of the values lie, by rank. */
export function percentile(values, p) {
  if (!values.length) return 0;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p * sorted.length) - 1))];
}

/**
 * Judges by two things that do not depend on timing: the tickets handed out, and how far the stored value
 * rose. What was refused did not happen and is not lost; what is unknown may have happened, so lost is a
 * range: at least `lost`, at most `lostMax`.
 */
export function judge(counter, attempts, before, after) {
  const ok = attempts.filter((a) => a.outcome === "ok");
  const unknown = attempts.filter((a) => a.outcome === "unknown").length;
  const handed = tickets(attempts);
  const distinct = new Set(handed).size;
  const duplicates = handed.length - distinct;
  const rose = after - before;
  // Others may be claiming too and raise the value; a ticket given twice is lost all the same.
  const lost = Math.max(0, ok.length - rose, duplicates);
  const took = ok.map((a) => a.answeredUs - a.sentUs);
  const v = {
    type: "verdict",
    counter,
    asked: attempts.length,
    answered: ok.length,
    distinct,
    duplicates,
    gaps: gaps(handed, unknown),
    cached: 0, // cannot be seen from here
    lost,
    lostMax: Math.max(lost, ok.length + unknown - rose),
    unknown,
    refused: attempts.length - ok.length - unknown,
    attempts: attempts.reduce((sum, a) => sum + (a.attempts || 1), 0),
    p50Us: percentile(took, 0.5),
    p99Us: percentile(took, 0.99),
    before,
    after,
  };
  return { ...v, sentence: sentence(v, handed) };
}

/** Numbers between the lowest and the highest ticket that nobody holds, whatever became of the unknown. */
export function gaps(handed, unknown = 0) {
  if (!handed.length) return 0;
  return Math.max(0, Math.max(...handed) - Math.min(...handed) + 1 - new Set(handed).size - unknown);
}

const NAMES = { object: "The object", naive: "KV", cas: "KV with compare-and-set" };

const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

/** The verdict as one or two sentences. */
export function sentence(v, handed = []) {
  const who = NAMES[v.counter] || v.counter;
  const parts = [];
  const worst = piles(handed).sort((a, b) => b.count - a.count)[0];
  if (v.answered === 0) parts.push(`${who} answered none of ${plural(v.asked, "request")}.`);
  else if (v.duplicates > 0) {
    if (worst?.count > 1) parts.push(`${who} handed ticket ${worst.ticket} to ${worst.count} people.`);
    parts.push(`${range(v)} of ${v.answered} increments were lost.`);
  } else if (v.lost > 0) {
    parts.push(`${who} gave out ${v.distinct} different tickets, yet ${range(v)} of ${v.answered} increments were lost.`);
  } else {
    parts.push(`${who} handed out ${plural(v.distinct, "ticket")}, each exactly once.`);
  }
  if (v.gaps > 0) parts.push(`${plural(v.gaps, "number")} in between ${v.gaps === 1 ? "was" : "were"} given to nobody.`);
  if (v.counter === "cas" && v.attempts > v.answered) {
    parts.push(`Correct, but it took ${plural(v.attempts - v.answered, "extra attempt")}. A single owner makes none.`);
  }
  if (v.refused > 0) parts.push(`${plural(v.refused, "request")} failed; ${v.refused === 1 ? "it is" : "they are"} not counted as lost.`);
  if (v.unknown > 0) parts.push(`${plural(v.unknown, "request")} got no answer and may or may not have counted.`);
  return parts.join(" ");
}

const range = (v) => (v.lostMax > v.lost ? `Between ${v.lost} and ${v.lostMax}` : `${v.lost}`);

/** What to add when the naive counter got away with it, so that nobody takes luck for correctness. */
export function luck(v) {
  if (v.counter !== "naive" || v.duplicates > 0 || v.lost > 0 || v.answered < 2) return "";
  return "No increment lost this time. That is luck: run it again, or raise the gap.";
}

/** What a run tells of the death of the object's owner, or "" if nobody died. */
export function sayDeath(attempts, faults) {
  const killed = faults.find((f) => f.what === "killed");
  if (!killed) return faults.some((f) => f.what === "failed") ? `The owner could not be killed: ${faults[0].error}.` : "";
  const ok = attempts.filter((a) => a.outcome === "ok");
  const first = ok.filter((a) => a.owner === killed.host && a.answeredUs <= killed.atUs);
  const later = ok.filter((a) => a.answeredUs > killed.atUs).sort((a, b) => a.answeredUs - b.answeredUs);
  const parts = [`${killed.host} was killed after ${plural(first.length, "ticket")}.`];
  const next = later.find((a) => a.epoch > (first[0]?.epoch ?? 0));
  if (next) parts.push(`${next.owner} took over as epoch ${next.epoch} after ${((next.answeredUs - killed.atUs) / 1e6).toFixed(1)} s.`);
  const refused = faults.filter((f) => f.what === "refused").length;
  if (refused) parts.push(`${plural(refused, "write")} that ${killed.host} had still sent ${refused === 1 ? "was" : "were"} refused.`);
  return parts.join(" ");
}
