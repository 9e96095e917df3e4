// Calls over HTTP that count once: each call has a key under which the object remembers its answer. So a call whose
// answer was lost is sent again and does not run again.
import { delay } from "./backoff.js";

/** The error of a failed call. `outcome` says how it failed: refused, unavailable or unknown. */
export class CallError extends Error {
  constructor(message, { code = "", outcome, status = 0, reference = "", details } = {}) {
    super(reference ? `${message} (reference ${reference})` : message);
    this.name = "CallError";
    Object.assign(this, { code, outcome, status, reference, details });
  }
}

/** Returns a key that no other call has. */
export const newKey = () => crypto.randomUUID();

const SAFE = new Set(["GET", "HEAD"]);
const TIMEOUT = 30000;

/**
 * Returns a function that calls one route of a worker: route("POST", "/ticket/:name") returns claim({name}, input).
 * See index.d.ts.
 */
export function route(method, path, defaults = {}) {
  return async (params = {}, input, options = {}) => send(method, fill(path, params), input, { ...defaults, ...options });
}

function fill(path, params) {
  const query = new URLSearchParams(Object.entries(params.query ?? {}).map(([k, v]) => [k, String(v)]));
  const filled = path.replace(/:(\w+)/g, (_, name) => {
    if (params[name] === undefined || params[name] === "") throw new TypeError(`${path} needs ${name}`);
    return encodeURIComponent(params[name]);
  });
  return query.size ? `${filled}?${query}` : filled;
}

async function send(method, path, input, options) {
  const { base = "", key = SAFE.has(method) ? "" : newKey(), retry = true, timeout = TIMEOUT, signal, headers, fetch = globalThis.fetch } = options;
  const request = { method, cache: "no-store", headers: { ...headers } };
  if (key) request.headers["Idempotency-Key"] = key;
  if (input !== undefined) {
    request.body = JSON.stringify(input);
    request.headers["Content-Type"] = "application/json";
  }
  const until = AbortSignal.timeout(timeout);
  request.signal = signal ? AbortSignal.any([signal, until]) : until;
  for (let attempt = 0; ; attempt++) {
    try {
      return await once(fetch, base + path, request, { attempt, key });
    } catch (err) {
      if (signal?.aborted) throw signal.reason;
      if (!retry || !again(err) || until.aborted) throw err;
      await pause(err.retryAfter ?? delay("backoff", attempt), request.signal).catch(() => {
        throw signal?.aborted ? signal.reason : err;
      });
    }
  }
}

// A call that certainly did not happen may be sent again, and so may an unknown one, under the same key.
const again = (err) => err instanceof CallError && (err.outcome === "unavailable" || err.outcome === "unknown");

async function once(fetch, url, request, { attempt, key }) {
  let res;
  try {
    res = await fetch(url, request);
  } catch (_) {
    throw new CallError("the connection broke", { outcome: "unknown" });
  }
  if (!res.ok) throw await failure(res);
  const type = res.headers.get("Content-Type") || "";
  let value;
  try {
    value = res.status === 204 ? undefined : type.includes("json") ? await res.json() : await res.text();
  } catch (_) {
    throw new CallError("the answer broke off", { outcome: "unknown", status: res.status });
  }
  return { value, key, attempts: attempt + 1, owner: res.headers.get("Holdfast-Owner") || "", epoch: Number(res.headers.get("Holdfast-Epoch")) || 0, woke: res.headers.get("Holdfast-Woke") === "true" };
}

async function failure(res) {
  const body = await res.json().catch(() => ({}));
  const err = new CallError(body.message || `status ${res.status}`, { ...body, status: res.status, outcome: outcomeOf(res.status) });
  const seconds = Number(res.headers.get("Retry-After"));
  if (seconds > 0) err.retryAfter = seconds * 1000 * (0.5 + Math.random() / 2);
  return err;
}

/** The outcome of a call with this status: only with 504 it is unknown. */
export function outcomeOf(status) {
  if (status === 503) return "unavailable";
  return status === 504 ? "unknown" : "refused";
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}
