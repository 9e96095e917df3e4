// Chooses the address that a connection tries. Each address is a gateway, and any gateway serves every connection.
//
// The connections of a page share the states of the addresses. An address that has failed is not used for a
// second; then a single connection tests it, and the others follow if it opens. Among working addresses the
// one with the fewest handshakes under way is used: a browser does one handshake with an address at
// a time.

const PAUSE = 1000; // milliseconds for which an address is not used after a failure

// The events that lead from one state of an address to another. An event that a state does not name has no effect.
const NEXT = {
  works: { failed: "failed" },
  failed: { taken: "tested", opened: "works" },
  tested: { opened: "works", failed: "failed", left: "failed" },
};

class Address {
  state = "works"; // until it is known not to
  failedAt = 0;
  underWay = 0; // handshakes

  tell(event) {
    this.state = NEXT[this.state][event] ?? this.state;
  }

  /** Returns whether a connection may use the address. */
  free(now) {
    return this.state === "works" || (this.state === "failed" && now - this.failedAt >= PAUSE);
  }
}

export class Addresses {
  #known = new Map(); // by scheme and host

  /** Takes one of the URLs for a handshake. Returns {url, opened(), failed(now), left()}: how it ended. */
  take(urls, now, random) {
    if (urls.length === 0) throw new TypeError("there is no URL to connect to");
    const all = urls.map((url) => ({ url, address: this.#of(url) }));
    const free = all.filter(({ address }) => address.free(now));
    const among = free.length > 0 ? free : all;
    const fewest = Math.min(...among.map(({ address }) => address.underWay));
    const best = among.filter(({ address }) => address.underWay === fewest);
    const { url, address } = best[Math.floor(random() * best.length)];
    address.tell("taken");
    address.underWay++;
    let shaking = true;
    const ends = (event) => {
      if (shaking) address.underWay--;
      shaking = false;
      address.tell(event);
    };
    return {
      url,
      opened: () => ends("opened"),
      // Of the handshake, or of the connection later.
      failed: (at) => {
        address.failedAt = at;
        ends("failed");
      },
      left: () => shaking && ends("left"),
    };
  }

  #of(url) {
    const key = String(url).split("/", 3).join("/");
    if (!this.#known.has(key)) this.#known.set(key, new Address());
    return this.#known.get(key);
  }
}

/** The addresses of this page. */
export const addresses = new Addresses();
