import { test } from "node:test";
import assert from "node:assert/strict";
import { describe, median } from "../pill.js";
import { Announcer, initials, sayName, sayWhere } from "../crowd.js";
import { place } from "../distances.js";
import { colour } from "../gosource.js";

const open = { phase: "open", attempt: 0, online: true, region: "fra", ownerRegion: "fra", owner: "host-ab12 (fra)", epoch: 1, rtt: 3.2 };

test("the pill has a state and words for every situation", () => {
  const cases = [
    [{ phase: "connecting", attempt: 0 }, "connecting", "Connecting…"],
    [open, "live", "Live · 3 ms · fra"],
    [{ ...open, region: "syd", rtt: 244.4 }, "forwarding", "Live · 244 ms · syd → fra"],
    [{ ...open, moved: { from: 1, to: 2 } }, "moving", "Owner moved… epoch 1 → 2"],
    [{ ...open, silent: true }, "moving", "Waiting for the owner…"],
    [{ phase: "waiting", attempt: 2, retryIn: 800, online: true }, "reconnecting", "Reconnecting (2): next try in 0.8 s"],
    [{ phase: "connecting", attempt: 2, online: true }, "reconnecting", "Reconnecting (2)…"],
    [{ phase: "waiting", attempt: 2, online: false }, "offline", "Offline. Will resume when you're back"],
    [{ phase: "refused", reason: "Not yours.", online: true }, "refused", "Can't join. Not yours."],
  ];
  for (const [known, state, text] of cases) {
    const d = describe(known);
    assert.deepEqual([d.state, d.text], [state, text]);
  }
});

test("the pill names owner and epoch, and offers what can be done", () => {
  assert.equal(describe(open).detail, "epoch 1 · host-ab12 (fra)");
  assert.equal(describe({ phase: "waiting", attempt: 1, retryIn: 10 }).action, "Retry now");
  assert.equal(describe({ phase: "refused", reason: "x" }).action, "Try again");
  assert.equal(describe(open).action, undefined);
});

test("what is spoken does not change with the round trip", () => {
  assert.equal(describe(open).spoken, describe({ ...open, rtt: 99 }).spoken);
});

test("the median ignores one slow answer", () => {
  assert.equal(median([3, 4, 900, 3, 4]), 4);
  assert.equal(median([]), undefined);
});

test("names are read as words", () => {
  assert.equal(sayName("amber-otter"), "amber otter");
  assert.equal(initials("amber-otter"), "Ot");
  assert.equal(initials(""), "?");
  assert.equal(sayWhere({ region: "syd" }, 25000), "in syd, idle 20 s");
  assert.equal(sayWhere({ region: "syd", away: true }, 25000), "in syd, looking elsewhere");
  assert.equal(sayWhere({}, 130000), "idle 2 min");
});

test("joins and leaves are gathered and spoken once", () => {
  const said = [];
  let fire;
  const a = new Announcer((text) => said.push(text), { setTimeout: (fn) => (fire = fn) });
  a.join("1", "amber-otter");
  a.join("2", "teal-heron");
  a.join("3", "moss-toad");
  a.leave("3", "moss-toad");
  a.leave("9", "plum-finch");
  assert.deepEqual(said, []);
  fire();
  assert.deepEqual(said, ["2 people joined. plum finch left."]);
  a.join("4", "x");
  a.leave("4", "x");
  fire();
  assert.equal(said.length, 1);
});

test("coloured source is the same source", () => {
  const source = 'n := read(kv) // everyone reads 0\nif n > 1_0 { return "a // b" }';
  const parts = colour(source);
  assert.equal(parts.map((p) => p.text).join(""), source);
  assert.deepEqual(parts.filter((p) => p.kind).map((p) => p.kind), ["comment", "keyword", "number", "keyword", "string"]);
});

test("regions stand as far away as they are, and their names do not touch", () => {
  const placed = place([{ code: "fra", rttMs: 0 }, { code: "syd", rttMs: 290 }, { code: "ams", rttMs: 13 }, { code: "iad", rttMs: 97 }], 520);
  assert.deepEqual(placed.map((p) => p.code), ["fra", "ams", "iad", "syd"]);
  for (const [k, p] of placed.entries()) {
    assert.ok(p.x >= 30 && p.x <= 490);
    const next = placed[k + 1];
    if (next) assert.ok(next.x > p.x && (next.x - p.x >= 74 || next.row !== p.row));
  }
  assert.equal(place([{ code: "fra", rttMs: 0 }], 300).length, 1);
});
