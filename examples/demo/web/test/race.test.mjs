import { test } from "node:test";
import assert from "node:assert/strict";
import { history, inOrder, piles, story } from "../analyse.js";
import { fire } from "../fire.js";
import { heightFor, lastUs, layout, ticks, valueAt } from "../geometry.js";
import { ndjson } from "../ndjson.js";
import { judge, luck, percentile } from "../verdict.js";

const kv = (i, read, readUs, wroteUs, more = {}) => ({
  type: "attempt", counter: "naive", i, sentUs: 0, answeredUs: wroteUs + 100, ticket: read + 1, outcome: "ok",
  tries: [{ readUs, read, wroteUs, wrote: read + 1, refused: false }], ...more,
});
const object = (i, ticket, answeredUs) => ({
  type: "attempt", counter: "object", i, sentUs: i, answeredUs, ticket, outcome: "ok", tries: [{ read: ticket - 1, wrote: ticket }],
});
const failed = (i, outcome) => ({ type: "attempt", counter: "naive", i, sentUs: 0, answeredUs: 900, outcome, error: "status 429", tries: [] });

test("a write over a value it never saw destroys the write before it", () => {
  const writes = history([kv(0, 0, 100, 900), kv(1, 0, 110, 500), kv(2, 1, 600, 1200)]);
  assert.deepEqual(writes.map((w) => [w.i, w.before, w.blind, w.victim]), [
    [1, 0, false, undefined],
    [0, 1, true, 1],
    [2, 1, false, undefined],
  ]);
});

test("blind writes account for exactly what the value is short of", () => {
  // Random interleavings: each blind write is short by (before - read), and the sum is what was lost.
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let round = 0; round < 200; round++) {
    const n = 12;
    const plan = Array.from({ length: n }, (_, i) => ({ i, r: Math.floor(random() * 1e6), w: 0 }));
    for (const p of plan) p.w = p.r + 1 + Math.floor(random() * 3e5);
    const events = plan.flatMap((p) => [[p.r, "r", p], [p.w, "w", p]]).sort((a, b) => a[0] - b[0]);
    let value = 5;
    for (const [, kind, p] of events) {
      if (kind === "r") p.read = value;
      else value = p.read + 1;
    }
    const writes = history(plan.map((p) => kv(p.i, p.read, p.r, p.w)), 5);
    const short = writes.reduce((sum, w) => sum + (w.before - w.read), 0);
    assert.equal(short, n - (value - 5));
    for (const w of writes) assert.equal(w.blind, w.before !== w.read);
  }
});

test("an object's writes are never blind", () => {
  const writes = history([object(2, 2, 300), object(0, 1, 300), object(1, 3, 301)]);
  assert.deepEqual(writes.map((w) => [w.wrote, w.blind]), [[1, false], [2, false], [3, false]]);
});

test("refused tries and failed requests write nothing", () => {
  const retry = kv(0, 1, 500, 900);
  retry.tries.unshift({ readUs: 10, read: 0, wroteUs: 400, wrote: 1, refused: true });
  assert.equal(history([retry, failed(1, "refused"), failed(2, "unknown")], 1).length, 1);
});

test("lanes are in the order of arrival", () => {
  assert.deepEqual(inOrder([object(0, 3, 9), object(1, 1, 9), object(2, 2, 9)]).map((a) => a.ticket), [1, 2, 3]);
  assert.deepEqual(inOrder([kv(0, 0, 50, 90), kv(1, 0, 20, 99)]).map((a) => a.i), [1, 0]);
  const down = { ...object(3, undefined, 9), outcome: "unavailable", tries: [] };
  assert.deepEqual(inOrder([down, object(1, 1, 9)]).map((a) => a.i), [1, 3]);
});

test("duplicates pile up", () => {
  assert.deepEqual(piles([2, 1, 1, 3, 1]), [{ ticket: 1, count: 3 }, { ticket: 2, count: 1 }, { ticket: 3, count: 1 }]);
});

test("a story names the increment that is gone", () => {
  const [a, b] = [kv(6, 0, 3100, 12400), kv(2, 0, 3000, 9000)];
  const writes = history([a, b]);
  assert.equal(story(a, writes), "#7 read 0 at 3.1 ms, wrote 1 at 12.4 ms. By then #3 had already written 1, so #3's increment is gone.");
  assert.match(story(failed(0, "refused"), []), /not executed \(status 429\)\. That is not a lost increment/);
  assert.match(story(failed(0, "unknown"), []), /may or may not have counted/);
});

test("the layout keeps marks apart and inside", () => {
  const attempts = [kv(0, 99, 100, 101), kv(1, 99, 110, 40000), failed(2, "unknown")];
  const l = layout(attempts, { width: 300, maxUs: lastUs(attempts), before: 99 });
  assert.equal(l.height, heightFor(3));
  for (const lane of l.lanes) {
    for (const [k, m] of lane.marks.entries()) {
      assert.ok(m.x - m.w / 2 >= 0 && m.x + m.w / 2 <= 300, JSON.stringify(m));
      const next = lane.marks[k + 1];
      if (next) assert.ok(m.x + m.w / 2 < next.x - next.w / 2);
    }
  }
  assert.deepEqual(l.links.map((k) => [k.from, k.to]), [[0, 1]]);
  assert.equal(l.steps.last, 100);
});

test("without reads and writes there is no step line", () => {
  const blindFold = [{ ...kv(0, 0, 1, 2), tries: [] }];
  const l = layout(blindFold, { width: 300, maxUs: 1000 });
  assert.equal(l.steps, null);
  assert.deepEqual(l.lanes[0].marks.map((m) => m.kind), ["answer"]);
});

test("ticks are few and round", () => {
  assert.deepEqual(ticks(38000), [0, 10, 20, 30]);
  assert.deepEqual(ticks(900), [0, 0.5]);
  for (const us of [1, 777, 5000, 99999, 4e6]) assert.ok(ticks(us).length <= 6 && ticks(us).length >= 2, `${us}`);
});

test("the value at a moment", () => {
  const writes = history([object(0, 1, 100), object(1, 2, 200)]);
  assert.deepEqual([0, 100, 150, 200].map((us) => valueAt(writes, 0, us)), [0, 1, 1, 2]);
});

test("the verdict counts duplicates and lost increments", () => {
  const run = Array.from({ length: 15 }, (_, i) => kv(i, i === 14 ? 1 : 0, i, 100 + i));
  const v = judge("naive", run, 0, 2);
  assert.deepEqual([v.distinct, v.duplicates, v.lost, v.lostMax], [2, 13, 13, 13]);
  assert.equal(v.sentence, "KV handed ticket 1 to 14 people. 13 of 15 increments were lost.");
});

test("failures are never counted as lost", () => {
  const run = [kv(0, 0, 1, 2), kv(1, 1, 3, 4), failed(2, "refused"), failed(3, "unavailable"), failed(4, "refused")];
  const v = judge("naive", run, 0, 2);
  assert.deepEqual([v.lost, v.lostMax, v.refused, v.answered], [0, 0, 3, 2]);
  assert.match(v.sentence, /3 requests failed; they are not counted as lost/);
});

test("an unknown outcome makes lost a range", () => {
  const run = [kv(0, 0, 1, 2), kv(1, 0, 1, 3), failed(2, "unknown")];
  const v = judge("naive", run, 0, 1);
  assert.deepEqual([v.lost, v.lostMax, v.unknown], [1, 2, 1]);
  assert.match(v.sentence, /Between 1 and 2 of 2 increments were lost/);
});

test("somebody else's claims do not hide a duplicate", () => {
  assert.equal(judge("naive", [kv(0, 0, 1, 2), kv(1, 0, 1, 3)], 0, 9).lost, 1);
});

test("luck is called luck, and only for the naive counter", () => {
  assert.match(luck(judge("naive", [kv(0, 0, 1, 2), kv(1, 1, 3, 4)], 0, 2)), /luck/);
  assert.equal(luck(judge("cas", [kv(0, 0, 1, 2), kv(1, 1, 3, 4)], 0, 2)), "");
});

test("compare-and-set is judged by its attempts as well", () => {
  const run = [{ ...kv(0, 0, 1, 2), attempts: 1 }, { ...kv(1, 1, 3, 4), attempts: 3 }];
  assert.match(judge("cas", run, 0, 2).sentence, /2 extra attempts/);
});

test("percentiles are by rank", () => {
  assert.equal(percentile([5, 1, 3], 0.5), 3);
  assert.equal(percentile([5, 1, 3], 0.99), 5);
  assert.equal(percentile([], 0.5), 0);
});

test("lines are read across chunks, with or without a last newline", async () => {
  const text = '{"type":"start"}\n\n{"type":"attempt","error":"é"}\n{"type":"done"}';
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 7, 1000]) {
    const stream = new ReadableStream({
      start(c) {
        for (let k = 0; k < bytes.length; k += size) c.enqueue(bytes.slice(k, k + size));
        c.close();
      },
    });
    const got = [];
    for await (const line of ndjson(stream)) got.push(line);
    assert.deepEqual(got.map((l) => l.type), ["start", "attempt", "done"]);
    assert.equal(got[1].error, "é");
  }
});

test("a run fired from the browser speaks the gateway's lines", async () => {
  let value = 0;
  let clock = 0;
  const doing = {
    peek: async () => value,
    now: () => clock++,
    sleep: async () => {},
    claim: async (counter) => {
      if (value >= 4) throw Object.assign(new Error("no"), { outcome: "unavailable" });
      return { ticket: ++value };
    },
  };
  const lines = [];
  for await (const line of fire({ counters: ["object"], n: 5, gapMs: 0, spreadMs: 10 }, doing)) lines.push(line);
  assert.deepEqual(lines.map((l) => l.type), ["start", "attempt", "attempt", "attempt", "attempt", "attempt", "verdict", "done"]);
  const verdict = lines[6];
  assert.deepEqual([verdict.answered, verdict.distinct, verdict.lost, verdict.refused], [4, 4, 0, 1]);
});

test("answers of an object that overtake each other destroy nothing", () => {
  const answered = (i, ticket, answeredUs) => ({ counter: "object", i, sentUs: 0, answeredUs, ticket, outcome: "ok", tries: [{ read: ticket - 1, wrote: ticket }] });
  const writes = history([answered(0, 1, 30), answered(1, 2, 10), answered(2, 3, 20)]);
  assert.deepEqual(writes.map((w) => [w.wrote, w.at, w.victim]), [[1, 10, undefined], [2, 10, undefined], [3, 20, undefined]]);
});

test("a ticket that an object gave twice would still show", () => {
  const answered = (i, ticket, answeredUs) => ({ counter: "object", i, sentUs: 0, answeredUs, ticket, outcome: "ok", tries: [{ read: ticket - 1, wrote: ticket }] });
  const writes = history([answered(0, 1, 10), answered(1, 1, 20)]);
  assert.equal(writes.filter((w) => w.blind).length, 1);
});
