// The three counters as the page talks to them over HTTP.

export const COUNTERS = ["object", "naive", "cas"];

const ROUTES = { object: "ticket", naive: "naive", cas: "cas" };

/** A request that did not end well. outcome: refused | unavailable | unknown, as in the run's lines. */
export class CounterError extends Error {
  constructor(message, outcome, ref) {
    super(ref ? `${message} (reference ${ref})` : message);
    this.outcome = outcome;
  }
}

/** What a status says about the claim: only a 504 and a broken line leave it open whether it happened. */
export function outcomeOf(status) {
  if (status === 503) return "unavailable";
  return status === 504 ? "unknown" : "refused";
}

async function call(url, options) {
  let res;
  try {
    res = await fetch(url, { cache: "no-store", ...options });
  } catch (_) {
    throw new CounterError("the connection broke", "unknown");
  }
  if (res.ok) return res;
  const body = await res.json().catch(() => ({}));
  throw new CounterError(body.message || `status ${res.status}`, outcomeOf(res.status), body.reference);
}

/** Where an answer came from, by its headers. */
function ownerOf(res) {
  return { owner: res.headers.get("Holdfast-Owner") || "", epoch: res.headers.get("Holdfast-Epoch") || "" };
}

export class Counters {
  constructor(name) {
    this.name = encodeURIComponent(name);
  }

  #url(counter, query = "") {
    return `/${ROUTES[counter]}/${this.name}${query}`;
  }

  /** {ticket, attempts, owner, epoch} */
  async claim(counter, gapMs) {
    const query = counter === "object" ? "" : `?gap=${gapMs}ms`;
    const res = await call(this.#url(counter, query), { method: "POST" });
    return { ...ownerOf(res), ...(await res.json()) };
  }

  /** The same without counting. */
  async peek(counter) {
    const res = await call(this.#url(counter));
    return { ...ownerOf(res), ...(await res.json()) };
  }

  async reset(counter) {
    await call(this.#url(counter), { method: "DELETE" });
  }

  /** The response of a run fired by the gateway; its body is lines. */
  race({ n, gapMs, spreadMs }) {
    return call(`/race/${this.name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ n, gap: `${gapMs}ms`, spread: `${spreadMs}ms` }),
    });
  }
}
