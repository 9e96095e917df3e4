import { test } from "node:test";
import assert from "node:assert/strict";
import { isForged, newcomer, person } from "../frames.js";

test("what carries a userId is not the room's own word", () => {
  for (const type of ["owner", "pong", "error"]) {
    assert.equal(isForged({ type }, "u1"), false, type);
    assert.equal(isForged({ type, userId: "u2" }, "u1"), true, type);
    assert.equal(isForged({ type, userId: "" }, "u1"), true, type);
  }
  for (const type of ["cursor", "ripple", "away", "join", "leave"]) {
    assert.equal(isForged({ type, userId: "u2" }, "u1"), false, type);
  }
});

test("only one's own hello is believed", () => {
  assert.equal(isForged({ type: "hello", userId: "u1" }, "u1"), false);
  assert.equal(isForged({ type: "hello", userId: "u2" }, "u1"), true);
});

test("a person is four short fields, whatever was sent", () => {
  const long = "x".repeat(60000);
  const p = person({ userId: "u2", name: long, color: "url(https://evil.invalid/)", region: ["a"], label: "evil", seen: 0 });
  assert.deepEqual(Object.keys(p), ["userId", "name", "color", "region"]);
  assert.equal(p.name.length, 40);
  assert.equal(p.color, "#83928b");
  assert.equal(p.region, "");
  assert.equal(person({ color: "#c47d04" }).color, "#c47d04");
});

test("a forged join renames nobody", () => {
  const knows = (id) => ["me", "u2"].includes(id);
  assert.equal(newcomer({ userId: "u2", name: "evil" }, knows), null);
  assert.equal(newcomer({ userId: "me", name: "evil" }, knows), null);
  assert.equal(newcomer({ name: "evil" }, knows), null);
  assert.equal(newcomer({ userId: "u3", name: "teal-heron" }, knows).name, "teal-heron");
});
