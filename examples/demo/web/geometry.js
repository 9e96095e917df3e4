// Where everything in a column's timeline goes. Pure: attempts and a width in, numbers out.
//
// x is the time since the barrier, on one scale for both columns; y is one lane per request. Under the
// lanes runs the stored value as a step line.
import { history, inOrder, story } from "./analyse.js";

export const LANE = 13;
export const MARK = 11;
const LEFT = 24; // room for the request's number
const LEFT_NAMED = 48; // and for its region
const RIGHT = 28; // and for a mark that is pushed aside at the end
const TOP = 4;
const STEP_GAP = 15;
const STEP_HEIGHT = 36;
const AXIS = 16;

/** The height of a timeline with n lanes. */
export const heightFor = (n) => TOP + n * LANE + STEP_GAP + STEP_HEIGHT + AXIS;

/** Microseconds at which the last thing happens. */
export function lastUs(attempts) {
  return Math.max(1, ...attempts.map((a) => Math.max(a.answeredUs || 0, a.sentUs || 0)));
}

/** A mark is as wide as its number. */
const markWidth = (value) => MARK + Math.max(0, String(value).length - 1) * 5.5;

/** Round numbers for about four ticks, in ms. */
export function ticks(maxUs) {
  const max = maxUs / 1000;
  const rough = max / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough);
  const out = [];
  for (let v = 0; v <= max + 1e-9; v += step) out.push(Number(v.toFixed(6)));
  return out;
}

/**
 * {width, height, lanes, links, steps, axis, scale}. A lane has segs [{kind, x1, x2}] of kind
 * travel|gap|wait|ghost and marks [{kind, x, w, value, at}] of kind read|cached|write|blind|retry|fail|unknown.
 */
export function layout(attempts, { width, maxUs, before = 0, faults = [] }) {
  const ordered = inOrder(attempts);
  const writes = history(attempts, before);
  const named = new Set(attempts.map((a) => a.region)).size > 1;
  const left = named ? LEFT_NAMED : LEFT;
  const span = Math.max(1, width - left - RIGHT);
  const scale = (us) => left + (Math.min(Math.max(us, 0), maxUs) / maxUs) * span;
  const rows = new Map(ordered.map((a, row) => [a.i, row]));
  const yOf = (i) => TOP + rows.get(i) * LANE + LANE / 2;
  const name = (i) => `#${rows.get(i) + 1}`;
  const lanes = ordered.map((a, row) => ({
    i: a.i,
    row,
    y: yOf(a.i),
    label: named ? `${a.region} ${row + 1}` : String(row + 1),
    ...lane(a, scale, writes),
    story: story(a, writes, name),
    doneUs: a.answeredUs,
  }));
  const bottom = TOP + ordered.length * LANE;
  const axisY = bottom + STEP_GAP + STEP_HEIGHT;
  return {
    width,
    height: heightFor(ordered.length),
    left,
    right: left + span,
    lanes,
    links: links(writes, lanes, rows),
    outage: outage(attempts, faults, scale),
    steps: steps(writes, before, scale, { top: bottom + STEP_GAP, bottom: axisY - 4, end: left + span }),
    axis: { y: axisY, ticks: ticks(maxUs).map((v) => ({ x: scale(v * 1000), label: `${v}` })) },
    scale,
  };
}

function lane(a, scale, writes) {
  const segs = [];
  const marks = [];
  const answered = scale(a.answeredUs);
  const bar = (kind, from, to) => to > from && segs.push({ kind, x1: from, x2: to });
  if (a.counter === "object") {
    bar("wait", scale(a.sentUs), answered);
    if (a.outcome === "ok") mark(marks, "write", answered, a.ticket, a.answeredUs);
  } else {
    let from = scale(a.sentUs);
    for (const t of a.tries || []) {
      const read = scale(t.readUs);
      const wrote = scale(t.wroteUs || a.answeredUs);
      bar("travel", from, read);
      bar(t.refused ? "ghost" : "gap", read, wrote);
      if (t.refused) {
        // Many retries would bury the lane in numbers: a refused try keeps its place and loses its label.
        marks.push({ kind: "retry", x: wrote, w: 5, value: "", at: t.wroteUs });
      } else {
        mark(marks, t.cached ? "cached" : "read", read, t.read, t.readUs);
        if (t.wroteUs) mark(marks, blind(writes, a.i) ? "blind" : "write", wrote, t.wrote, t.wroteUs);
      }
      from = wrote;
    }
    bar("travel", from, answered);
    if (!a.tries?.length && a.outcome === "ok") mark(marks, "answer", answered, a.ticket, a.answeredUs);
  }
  if (a.outcome === "unknown") marks.push({ kind: "unknown", x: answered, w: MARK, value: "?", at: a.answeredUs });
  else if (a.outcome !== "ok") marks.push({ kind: "fail", x: answered, w: MARK, value: "", at: a.answeredUs });
  return { segs, marks };
}

const blind = (writes, i) => writes.some((w) => w.i === i && w.blind);

/** Adds a labelled mark, pushed right of the one before so that no two numbers cover each other. */
function mark(marks, kind, x, value, at) {
  const w = markWidth(value);
  const prev = marks[marks.length - 1];
  const clear = prev ? prev.x + prev.w / 2 + w / 2 + 1 : 0;
  marks.push({ kind, x: Math.max(x, clear), w, value: String(value), at });
}

/** From each destroyed write to the write that destroyed it. */
function links(writes, lanes, rows) {
  const markOf = (i) => lanes[rows.get(i)].marks.find((m) => m.kind === "write" || m.kind === "blind");
  return writes
    .filter((w) => w.victim !== undefined)
    .map((w) => {
      const from = markOf(w.victim);
      const to = markOf(w.i);
      return { from: w.victim, to: w.i, x1: from.x, y1: lanes[rows.get(w.victim)].y, x2: to.x, y2: lanes[rows.get(w.i)].y, at: w.at };
    });
}

/** The stored value as points of a step line, and the number at its end; null when it was not seen. */
function steps(writes, before, scale, { top, bottom, end }) {
  if (!writes.length) return null; // a browser cannot see what was stored in between
  const values = [before, ...writes.map((w) => w.wrote)];
  const low = Math.min(...values);
  const high = Math.max(...values, low + 15);
  const y = (v) => bottom - ((v - low) / (high - low)) * (bottom - top);
  const points = [{ x: scale(0), y: y(before) }];
  for (const w of writes) {
    const x = scale(w.at);
    points.push({ x, y: points[points.length - 1].y }, { x, y: y(w.wrote) });
  }
  const last = values[values.length - 1];
  points.push({ x: end, y: y(last) });
  return { points, last, lastY: y(last) };
}

/**
 * What an object's lanes show of its owner's death: {x1, x2, dead, next, refused: [x]} from the death to the first
 * answer of the next epoch, and when the store refused what the dead owner had still sent; null if nobody died.
 */
function outage(attempts, faults, scale) {
  const killed = faults.find((f) => f.what === "killed");
  if (!killed) return null;
  const of = attempts.filter((a) => a.outcome === "ok" && a.epoch);
  const dead = Math.min(...of.map((a) => a.epoch));
  const after = of.filter((a) => a.epoch > dead).sort((a, b) => a.answeredUs - b.answeredUs)[0];
  const refused = faults.filter((f) => f.what === "refused").map((f) => ({ x: scale(f.atUs), at: f.atUs }));
  return { x1: scale(killed.atUs), x2: scale(after?.answeredUs ?? lastUs(attempts)), dead, next: after?.epoch, refused };
}

/** The stored value at a moment. */
export function valueAt(writes, before, us) {
  let value = before;
  for (const w of writes) if (w.at <= us) value = w.wrote;
  return value;
}
