import { test } from "node:test";
import assert from "node:assert/strict";
import { Glide, Throttle } from "../tween.js";

test("the first point is where the cursor appears", () => {
  const g = new Glide();
  g.aim(4000, 5000, 10);
  assert.deepEqual(g.at(10), { x: 4000, y: 5000, done: true });
});

test("a glide arrives after the usual time between points, and never goes beyond", () => {
  const g = new Glide();
  for (let k = 0; k < 40; k++) g.aim(1000 + 10 * k, 0, 50 * k);
  assert.ok(Math.abs(g.pace - 50) < 1, `pace ${g.pace}`);
  const start = 50 * 39;
  assert.ok(g.at(start + 20).x < 1390);
  assert.equal(g.at(start + 60).x, 1390);
  assert.equal(g.at(start + 9000).x, 1390);
});

test("a glide starts from where the cursor is drawn", () => {
  const g = new Glide();
  g.aim(0, 0, 0);
  g.aim(1000, 0, 33);
  const middle = g.at(49).x;
  g.aim(2000, 0, 49);
  assert.equal(g.at(49).x, middle);
});

test("a long rest and a long way are jumps", () => {
  const g = new Glide();
  g.aim(0, 0, 0);
  g.aim(500, 0, 1500);
  assert.equal(g.at(1500).x, 500);
  g.aim(5000, 0, 1533);
  assert.equal(g.at(1533).x, 5000);
});

test("the pace stays within 16 and 150 ms", () => {
  const g = new Glide();
  for (let k = 0; k < 60; k++) g.aim(k, 0, k);
  assert.equal(g.pace, 16);
  for (let k = 0; k < 60; k++) g.aim(k, 0, 1000 + 900 * k);
  assert.equal(g.pace, 150);
});

test("the throttle lets the newest through and keeps the last", () => {
  const t = new Throttle(33);
  t.put("a");
  assert.equal(t.take(0), "a");
  t.put("b");
  t.put("c");
  assert.equal(t.take(16), undefined);
  assert.equal(t.pending, true);
  assert.equal(t.take(33), "c");
  assert.equal(t.pending, false);
  assert.equal(t.take(99), undefined);
});

test("a thousand points in a second become thirty", () => {
  const t = new Throttle(33);
  let sent = 0;
  for (let ms = 0; ms < 1000; ms++) {
    t.put(ms);
    if (t.take(ms) !== undefined) sent++;
  }
  assert.ok(sent <= 31, `${sent}`);
});
