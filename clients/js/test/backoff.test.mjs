import { test } from "node:test";
import assert from "node:assert/strict";
import { delay, readClose, sayClose } from "../backoff.js";

test("close codes say whether to come back", () => {
  const want = { 1012: "soon", 1001: "backoff", 1006: "backoff", 1013: "backoff", 1011: "fault", 4429: "later", 1000: "refused", 1008: "refused", 1009: "refused", 4400: "refused", 4401: "refused", 4403: "refused", 4404: "refused" };
  for (const [code, kind] of Object.entries(want)) assert.equal(readClose(Number(code)), kind, code);
});

test("a restart is followed at once, and only once", () => {
  assert.equal(delay("soon", 0, () => 1), 250);
  assert.equal(delay("soon", 0, () => 0), 0);
  assert.equal(delay("soon", 3, () => 1), 2000);
});

test("backoff doubles from 250 ms to 8 s with full jitter", () => {
  const most = [0, 1, 2, 3, 4, 5, 6, 20].map((n) => delay("backoff", n, () => 1));
  assert.deepEqual(most, [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
  assert.equal(delay("fault", 20, () => 0.25), 2000);
});

test("too many waits at least five seconds", () => {
  assert.equal(delay("later", 0, () => 0), 5000);
});

test("the server's reason is shown before our own words", () => {
  assert.equal(sayClose(4403, "not yours"), "not yours");
  assert.equal(sayClose(4403, ""), "You may not connect here.");
  assert.match(sayClose(4999, ""), /4999/);
});
