// Which of several addresses a connection tries. Each serves every connection: they are gateways.
//
// The connections of a page share what is known of an address. One that has failed is left alone for a
// second; then a single connection tests it, and the others follow if it opens, or if no other works. Among
// those that work, the one is taken at which the fewest handshakes are under way: a browser shakes hands with
// one address once at a time.

const PAUSE = 1000; // milliseconds that an address is left alone after a failure

// What leads from one state of an address to another. What a state does not name does nothing in it.
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

  /** Whether a connection may take it. */
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
    const tested = all.filter(({ address }) => address.state === "tested"); // it may work, unlike one that has just failed
    const among = [free, tested, all].find((some) => some.length > 0);
    const fewest = Math.min(...among.map(({ address }) => address.underWay));
    const best = among.filter(({ address }) => address.underWay === fewest);
    const { url, address } = best[Math.floor(random() * best.length)];
    if (address.free(now)) address.tell("taken");
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
