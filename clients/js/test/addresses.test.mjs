import { test } from "node:test";
import assert from "node:assert/strict";
import { Addresses } from "../addresses.js";

const both = ["ws://a/room", "ws://b/room"];
const low = () => 0;
const high = () => 0.999;

test("the first address is a matter of chance", () => {
  assert.equal(new Addresses().take(both, 0, low).url, "ws://a/room");
  assert.equal(new Addresses().take(both, 0, high).url, "ws://b/room");
});

test("handshakes spread over the addresses that work", () => {
  const known = new Addresses();
  const taken = Array.from({ length: 6 }, () => known.take(both, 0, low));
  const at = (url) => taken.filter((t) => t.url === url).length;
  assert.deepEqual(both.map(at), [3, 3]);
  taken.filter((t) => t.url === "ws://b/room").forEach((t) => t.opened());
  assert.equal(known.take(both, 0, low).url, "ws://b/room", "where nothing is under way any more");
});

test("a handshake ends once, however often it is said", () => {
  const known = new Addresses();
  const [a, b] = [known.take(both, 0, low), known.take(both, 0, low)];
  a.opened();
  a.left();
  a.opened();
  b.left();
  b.left();
  assert.deepEqual([known.take(both, 0, low).url, known.take(both, 0, low).url], both, "none is under way at either");
});

test("an address that failed is left alone for a second, then one connection tests it, then all take it", () => {
  const known = new Addresses();
  const lost = known.take(both, 0, low);
  lost.opened();
  lost.failed(5000);
  for (const now of [5000, 5999]) assert.equal(known.take(both, now, low).url, "ws://b/room");
  const test = known.take(both, 6000, low);
  assert.equal(test.url, "ws://a/room");
  assert.equal(known.take(both, 6001, low).url, "ws://b/room", "it is being tested");
  test.opened();
  assert.deepEqual([1, 2, 3].map(() => known.take(both, 6002, low).url), Array(3).fill("ws://a/room"), "fewer are under way there");
});

test("a test that fails is a failure, and one that is given up is made again", () => {
  const known = new Addresses();
  known.take(both, 0, low).failed(0);
  known.take(both, 1000, low).failed(1500);
  assert.equal(known.take(both, 2499, low).url, "ws://b/room");
  const test = known.take(both, 2500, low);
  assert.equal(test.url, "ws://a/room");
  test.left();
  assert.equal(known.take(both, 2501, low).url, "ws://a/room");
});

test("an address works again as soon as a handshake with it succeeds", () => {
  const known = new Addresses();
  const [one, other] = [known.take(["ws://a/room"], 0, low), known.take(["ws://a/room"], 0, low)];
  one.failed(100);
  other.opened();
  assert.equal(known.take(both, 101, low).url, "ws://a/room");
});

test("an address that is tested is better than one that has just failed", () => {
  const known = new Addresses();
  known.take(["ws://a/room"], 0, low).failed(0);
  known.take(both, 0, low).failed(5000);
  assert.deepEqual([1, 2, 3].map(() => known.take(both, 5001, high).url), Array(3).fill("ws://a/room"));
});

test("where no address works, all are tried", () => {
  const known = new Addresses();
  for (const _ of both) known.take(both, 0, low).failed(0);
  const tried = both.map(() => known.take(both, 1, low));
  assert.deepEqual(tried.map((t) => t.url), both);
  tried[1].opened();
  assert.equal(known.take(both, 2, low).url, "ws://b/room");
});

test("URLs of one host are one address, and other schemes and hosts are others", () => {
  const known = new Addresses();
  known.take(["ws://a/room/x"], 0, low).failed(0);
  assert.equal(known.take(["ws://a/room/y", "wss://a/room/y"], 1, low).url, "wss://a/room/y");
  assert.equal(known.take(["ws://a/room/z?token=1", "ws://ab/room"], 1, low).url, "ws://ab/room");
});
