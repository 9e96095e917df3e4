// The three counters as the page talks to them over HTTP.
import { CallError, route } from "/client/index.js";

export const COUNTERS = ["object", "naive", "cas"];

const ROUTES = { object: "ticket", naive: "naive", cas: "cas" };

// An object remembers a claim by its key, so a claim may be made again. KV remembers nothing: a claim that
// was lost on the way must not be made twice.
const calls = Object.fromEntries(COUNTERS.map((counter) => {
  const path = `/${ROUTES[counter]}/:name`;
  const claims = { retry: counter === "object" };
  return [counter, { claim: route("POST", path, claims), peek: route("GET", path), reset: route("DELETE", path, claims) }];
}));

const said = ({ value, owner, epoch, woke }) => ({ owner, epoch, woke, ...value });

export class Counters {
  constructor(name) {
    this.name = name;
  }

  /** {ticket, attempts, owner, epoch, woke} */
  async claim(counter, { gapMs, ttlS, limit }) {
    const query = { object: {}, cas: { gap: `${gapMs}ms` }, naive: { gap: `${gapMs}ms`, ttl: `${ttlS}s`, limit } }[counter];
    return said(await calls[counter].claim({ name: this.name, query }));
  }

  /** The same without counting. */
  async peek(counter) {
    return said(await calls[counter].peek({ name: this.name }));
  }

  async reset(counter) {
    await calls[counter].reset({ name: this.name });
  }

  /** The response with a run that was recorded; its body is lines, as those of race. */
  recorded(id) {
    return stream(`/runs/${encodeURIComponent(id)}`);
  }

  /** The response of a run fired by gateways; its body is lines. */
  race({ n, gapMs, spreadMs, ttlS, limit, from, crash }) {
    return stream(`/race/${encodeURIComponent(this.name)}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ n, gap: `${gapMs}ms`, spread: `${spreadMs}ms`, ttl: `${ttlS}s`, limit, from, crash }),
    });
  }
}

async function stream(url, options) {
  let res;
  try {
    res = await fetch(url, { cache: "no-store", ...options });
  } catch (_) {
    throw new CallError("the connection broke", { outcome: "unknown" });
  }
  if (res.ok) return res;
  const body = await res.json().catch(() => ({}));
  throw new CallError(body.message || `status ${res.status}`, { ...body, outcome: "refused", status: res.status });
}
