// A socket that comes back as the same socket: the first byte of its messages, and the counts. The counts are
// of messages alone, in both directions. They are sent only in the first message of a connection (the hello) and
// in the answer to a ping.
const PROTOCOL = "holdfast.1";
const MAX_UNSENT = 1 << 20; // bytes of messages that the object may not have taken

const JUMP = 2 ** 32; // a count that is so far ahead is not known

export const PING = "\0p";

const decoder = new TextDecoder();

/** Splits received data into its kind ("message", "hello", "taken", "apart") and the rest. */
export function readMessage(data) {
  const text = typeof data === "string";
  const bytes = text ? null : new Uint8Array(data);
  const at = (i) => (text ? data.charCodeAt(i) : bytes[i]);
  const size = text ? data.length : bytes.length;
  if (size === 0 || at(0) !== 0) return { kind: "message", data };
  const rest = data.slice(2);
  switch (size > 1 ? at(1) : -1) {
    case 0:
      return { kind: "message", data: data.slice(1) };
    case 104: // h
      return { kind: "hello", data: JSON.parse(text ? rest : decoder.decode(rest)) };
    case 97: // a
      return { kind: "taken", data: Number(text ? rest : decoder.decode(rest)) };
    case 117: // u
      return { kind: "apart", data: rest };
  }
  return { kind: "unknown", data };
}

/** Returns a message in the form in which it is sent: with a further zero in front if it begins with a zero. */
export function escapeMessage(data) {
  if (typeof data === "string") return data.charCodeAt(0) === 0 ? "\0" + data : data;
  const bytes = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
  if (bytes[0] !== 0) return data;
  const escaped = new Uint8Array(bytes.length + 1);
  escaped.set(bytes, 1);
  return escaped;
}

const sizeOf = (data) => (typeof data === "string" ? data.length : data.byteLength);

export class Session {
  token = "";
  received = 0;
  time = 0;
  #auto;
  #unsent = [];
  #bytes = 0;
  #sent = 0; // messages before #unsent

  /** The subprotocols to offer with the next connection. */
  protocols() {
    return this.token ? [PROTOCOL, `holdfast.resume.${this.received}.${this.token}`] : [PROTOCOL];
  }

  /** Begins a connection. Returns the messages to send again, and what was missed (null: nothing). */
  hello(h) {
    const fresh = this.token !== "" && !h.back;
    const from = h.from ?? 0;
    const taken = h.taken ?? 0;
    const missing = h.back && from !== this.received;
    const missed = from - this.received;
    Object.assign(this, { token: h.token ?? "", time: h.time ?? 0, received: from });
    this.#auto = h.auto;
    let unsure = 0;
    if (fresh || taken > this.#sent + this.#unsent.length) {
      unsure = this.#unsent.length;
      this.#unsent = [];
      this.#bytes = 0;
    } else this.taken(taken);
    this.#sent = taken;
    const gap = { missed: missing && missed > 0 && missed < JUMP ? missed : null, fresh, unsure };
    return { again: this.#unsent, gap: fresh || missing || unsure > 0 ? gap : null };
  }

  taken(n) {
    while (this.#sent < n && this.#unsent.length > 0) {
      this.#bytes -= sizeOf(this.#unsent.shift());
      this.#sent++;
    }
  }

  /** Notes a message that is sent. Returns false if too many messages are not known to be taken. */
  sends(data) {
    if (!this.token || (this.#auto !== undefined && data === this.#auto)) return true;
    const size = sizeOf(data);
    if (this.#bytes > 0 && this.#bytes + size > MAX_UNSENT) return false;
    this.#unsent.push(typeof data === "string" ? data : ArrayBuffer.isView(data) ? data.slice?.() ?? data : data.slice(0));
    this.#bytes += size;
    return true;
  }

  /** Ends the session: the next connection is a new socket. Returns what the client has missed (null: nothing). */
  end() {
    const gap = this.token ? { missed: null, fresh: true, unsure: this.#unsent.length } : null;
    this.token = "";
    this.#unsent = [];
    this.#bytes = this.#sent = 0;
    return gap;
  }
}
