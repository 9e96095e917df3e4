import { test } from "node:test";
import assert from "node:assert/strict";
import { Diary, sayFor, sayLife, sayWoken } from "../life.js";
import { sayBytes, sayCost, sayResting } from "../fill.js";
import { readOwner } from "../owners.js";
import { ownedIn } from "../distances.js";
import { sayJob, sayLimited, sayPaid, sayRank } from "../playwords.js";

const awake = (ms, constructed = 1, woken = "message") => ({ owned: true, awake: true, ms, constructed, woken, sockets: 3 });
const asleep = (ms, constructed = 1) => ({ ...awake(ms, constructed), awake: false });

test("a room is awake, asleep, or nobody's", () => {
  assert.deepEqual(sayLife(awake(12300)), { state: "awake", now: "Awake for 12 s", why: "What woke it: somebody moved.", facts: "Constructed once by this owner. 3 sockets open." });
  const s = sayLife({ ...asleep(65000, 4), sockets: 2001 });
  assert.deepEqual([s.state, s.now, s.facts], ["asleep", "Asleep for 1 min 5 s", "Constructed 4 times by this owner. 2,001 sockets open."]);
  assert.equal(sayLife({ owned: false }).state, "nobody");
  assert.equal(sayWoken("constructor"), "an event");
  assert.equal(sayFor(3600000 + 61000), "1 h 1 min");
});

test("the diary keeps when the room was awake, from what its owner says of the past", () => {
  const d = new Diary(60000);
  assert.equal(d.note(awake(5000, 1, "fetch"), 10000), "");
  assert.equal(d.note(awake(6000, 1, "fetch"), 11000), "");
  assert.equal(d.note(asleep(400), 20000), "slept");
  assert.equal(d.note(awake(100, 2), 30000), "woke");
  assert.deepEqual(d.spans.map((p) => [p.state, p.from, p.to]), [["awake", 5000, 19600], ["asleep", 19600, 29900], ["awake", 29900, 30000]]);
  assert.deepEqual(d.shown(30000).map((p) => [p.x1, p.woken]), [[1 - 25 / 60, "fetch"], [1 - 10.4 / 60, "message"], [1 - 0.1 / 60, "message"]]);
});

test("a sleep between two looks is a wake-up all the same, and what is long ago is forgotten", () => {
  const d = new Diary(60000);
  d.note(awake(1000), 1000);
  assert.equal(d.note(awake(200, 2), 31000), "woke");
  assert.equal(d.note(asleep(1000, 2), 200000), "slept");
  assert.deepEqual(d.spans.map((p) => p.state), ["awake", "asleep"]);
  assert.equal(d.note({ owned: false }, 201000), "");
  assert.equal(d.note(awake(0, 1), 202000), ""); // another owner has constructed it: it did not sleep
});

test("what a crowd costs is told in halves", () => {
  const said = sayCost({ people: 2000, missing: 0, ms: 4200, bytes: 28 << 20, client: 600000, goroutines: 2004 });
  assert.match(said, /^2,000 sockets came in 4\.2 s\. With them the process holds 28\.0 MB and 2,004 goroutines more\. 585\.9 KB of that is their other end/);
  assert.match(said, /14\.0 KB each\.$/);
  assert.match(sayCost({ people: 10, missing: 5, why: "no files left", ms: 1, bytes: 0, client: 3000, goroutines: 0 }), /5 could not come in: no files left\.$/);
  assert.match(sayCost({ people: 0, missing: 5, why: "no files left" }), /^Nobody could come in: no files left/);
  assert.equal(sayResting({ people: 2000, messages: 0, leaveMs: 59001 }), "In the last second all 2,000 together were sent no messages. They leave in 60 s.");
  assert.equal(sayBytes(512), "0.5 KB");
});

test("owners are read from a header, and known by region", () => {
  assert.deepEqual(readOwner("fra-1 (fra)", 3), { host: "fra-1", region: "fra", epoch: 3 });
  assert.deepEqual(readOwner("", 0), { host: "", region: "", epoch: 0 });
  const owners = [{ object: "room/a", region: "fra" }, { object: "ticket/b", region: "iad" }, { object: "room/c", region: "fra" }];
  assert.deepEqual(ownedIn(owners, "fra"), ["room"]);
});

test("panels say what an answer means", () => {
  assert.equal(sayRank(10, { points: 10, rank: 1 }), "10 points: your best, and rank 1.");
  assert.equal(sayRank(10, { points: 90, rank: 2 }), "10 points. Your best is 90, rank 2.");
  assert.equal(sayLimited({ at: "2026-01-01T00:00:10Z" }, Date.parse("2026-01-01T00:00:00.5Z")), "Refused: 429. Its alarm gives all five back in 10 s.");
  assert.equal(sayLimited(undefined, 0), "Refused: 429. Its alarm gives all five back in a moment.");
  assert.equal(sayPaid(["charge 1", "charge 1"]), "2 presses, one charge.");
  assert.equal(sayPaid(["charge 1", "charge 2"]), "2 presses, 2 charges.");
  assert.equal(sayJob({ id: "a", state: "waiting", tries: 1 }, 0), "a: at work");
  assert.equal(sayJob({ id: "a", state: "waiting", tries: 1, why: "it stumbled", next: "1970-01-01T00:00:04Z" }, 0), "a: it stumbled; its timer rings in 4 s");
  assert.equal(sayJob({ id: "a", state: "failed", tries: 5 }, 0), "a: given up after 5 tries");
});
