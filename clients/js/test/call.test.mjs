import { test } from "node:test";
import assert from "node:assert/strict";
import { CallError, newKey, route } from "../index.js";
import { outcomeOf } from "../call.js";

// A server that gives these answers in turn, the last one again and again.
function server(...answers) {
  const asked = [];
  const fetch = async (url, request) => {
    asked.push({ url, ...request });
    const answer = answers[Math.min(asked.length, answers.length) - 1];
    if (answer instanceof Error) throw answer;
    const [status, body, headers = {}] = answer;
    return new Response(body === undefined ? null : JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } });
  };
  return { asked, fetch };
}

test("a call fills its path, sends JSON and says who answered", async () => {
  const s = server([200, { ticket: 7 }, { "Holdfast-Owner": "host-1 (fra)", "Holdfast-Epoch": "3" }]);
  const buy = route("POST", "/seat/:hall/:name", { base: "https://x", fetch: s.fetch });
  const answer = await buy({ hall: "a/b", name: "é", query: { limit: true } }, { row: 4 });
  assert.deepEqual([answer.value, answer.owner, answer.epoch, answer.attempts], [{ ticket: 7 }, "host-1 (fra)", 3, 1]);
  const [{ url, method, body, headers }] = s.asked;
  assert.deepEqual([url, method, body], ["https://x/seat/a%2Fb/%C3%A9?limit=true", "POST", '{"row":4}']);
  assert.equal(headers["Content-Type"], "application/json");
  assert.match(headers["Idempotency-Key"], /^[0-9a-f-]{36}$/);
  await assert.rejects(buy({ hall: "a" }), TypeError);
});

test("what is unavailable or unknown is asked again, under the same key", async () => {
  const s = server([503, { code: "unavailable", message: "moving" }], new TypeError("network"), [504, {}], [200, 1]);
  const answer = await route("POST", "/c", { fetch: s.fetch })();
  assert.deepEqual([answer.value, answer.attempts], [1, 4]);
  assert.equal(new Set(s.asked.map((a) => a.headers["Idempotency-Key"])).size, 1);
});

test("what was refused is not asked again", async () => {
  const s = server([409, { code: "conflict", message: "sold out", details: { left: 0 } }]);
  const err = await route("POST", "/c", { fetch: s.fetch })().catch((e) => e);
  assert.ok(err instanceof CallError);
  assert.deepEqual([err.code, err.outcome, err.status, err.message, err.details, s.asked.length], ["conflict", "refused", 409, "sold out", { left: 0 }, 1]);
});

test("a fault shows its reference", async () => {
  const s = server([500, { code: "internal", message: "the object failed", reference: "r-7" }]);
  await assert.rejects(route("GET", "/c", { fetch: s.fetch })(), /the object failed \(reference r-7\)/);
});

test("without retry the first failure stands, for routes that remember nothing", async () => {
  const s = server(new TypeError("network"), [200, 1]);
  const err = await route("POST", "/kv", { fetch: s.fetch, retry: false })().catch((e) => e);
  assert.deepEqual([err.outcome, s.asked.length], ["unknown", 1]);
});

test("reads have no key, and a caller's own is kept", async () => {
  const s = server([200, 1]);
  await route("GET", "/c", { fetch: s.fetch })();
  await route("POST", "/c", { fetch: s.fetch })({}, undefined, { key: "mine" });
  assert.deepEqual(s.asked.map((a) => a.headers["Idempotency-Key"]), [undefined, "mine"]);
  assert.notEqual(newKey(), newKey());
});

test("the time for all tries ends the call with what the last one said", async () => {
  const s = server([503, { code: "unavailable", message: "nobody runs it" }]);
  const err = await route("POST", "/c", { fetch: s.fetch, timeout: 300 })().catch((e) => e);
  assert.deepEqual([err.outcome, err.message], ["unavailable", "nobody runs it"]);
});

test("a caller that aborts is told so, and nothing is asked any more", async () => {
  const s = server([503, {}, { "Retry-After": "5" }]);
  const stop = new AbortController();
  const waiting = route("POST", "/c", { fetch: s.fetch, signal: stop.signal })();
  setTimeout(() => stop.abort(new Error("enough")), 20);
  await assert.rejects(waiting, /enough/);
  assert.equal(s.asked.length, 1);
});

test("only a 504 leaves it open whether a call happened", () => {
  assert.deepEqual([429, 503, 504, 500].map(outcomeOf), ["refused", "unavailable", "unknown", "refused"]);
});
