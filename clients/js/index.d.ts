/**
 * Holdfast for browsers and node: WebSockets that come back, and calls that count once.
 *
 * Needs `WebSocket` and `fetch`. Node has `fetch` from 20 on and `WebSocket` from 22 on; before that, give a
 * WebSocket class in `env`.
 */

/** Where a connection stands. */
export type Phase =
  | "connecting" // a socket is being opened
  | "open" // it is there
  | "waiting" // it was lost; the next try is at `retryAt`
  | "refused" // trying again would get the same answer: call `retry` if a person asks for it
  | "closed"; // it was never opened, or `close` was called

export interface Status {
  phase: Phase;
  /** Tries since the last connection that lasted. */
  attempt: number;
  /** By `performance.now()`: when the next try comes, in the phase "waiting". */
  retryAt?: number;
  /** The close code, in the phases "waiting" and "refused". */
  code?: number;
  /** For a person: why it was refused, or the reference of a fault. */
  reason?: string;
  /** In the phase "open": a ping goes unanswered for so long that the object is probably moving. */
  silent?: boolean;
}

export type Data = string | ArrayBuffer;

/** How to find out that a connection is dead though it looks open. The object has to answer pings. */
export interface Heartbeat {
  /** What to send as a ping. */
  ping(): string | ArrayBufferLike | ArrayBufferView;
  /** Whether a message answers a ping. */
  isPong(data: Data): boolean;
}

/** What a socket has missed that has come back. */
export interface Gap {
  /** Messages; null: nobody knows how many. */
  missed: number | null;
  /** The time to come back was over: to its object it is another socket, and a greeting comes again. */
  fresh: boolean;
  /** Messages that were sent, of which nobody knows whether the object has handled them. They are not sent again. */
  unsure: number;
}

/**
 * Where to connect. Of several, each try takes one: not one that has failed less than a second ago, if there
 * is another, then one with the fewest handshakes of this page under way, then one by chance. So they have to
 * serve equally well, as gateways of one region do. A function is asked before each try.
 */
export type URLs = string | string[] | (() => string | string[]);

export interface ConnectOptions {
  protocols?: string | string[];
  /**
   * Come back as the same socket after a loss: what was sent to it meanwhile follows, and what it has sent and
   * nobody has taken is sent again. The class has to ask for it (`Settings.Resume`); with one that does not, a
   * connection comes back as a new socket, as without.
   */
  resume?: boolean;
  /** With `resume`: something was missed, or the socket is another one. Load anew what you show. */
  onGap?(gap: Gap, connection: Connection): void;
  /** Every message while the connection is open, the one that made it ready included. */
  onMessage?(data: Data, connection: Connection): void;
  /** Every change of status. */
  onStatus?(status: Status, connection: Connection): void;
  /** Whether a message makes a connection ready, such as a greeting. Without it, to be opened is enough. */
  ready?(data: Data): boolean;
  heartbeat?: Heartbeat;
  /** false: do not look at the network, the page's visibility and the clock for reasons to suspect a loss. */
  watch?: boolean;
  /** Milliseconds: for a connection to be ready, between pings, for a pong, and so on. */
  times?: Partial<Record<"open" | "ping" | "pingSoon" | "pong" | "pongAfterSleep" | "silent" | "stable", number>>;
  /** What stands in for the browser, in tests and in node before 22. */
  env?: Partial<{
    WebSocket: unknown;
    now(): number;
    random(): number;
    setTimeout(fn: () => void, ms: number): unknown;
    clearTimeout(id: unknown): void;
    visible(): boolean;
  }>;
}

/**
 * A WebSocket that comes back: after a loss with full jitter from 250 ms to 8 s, at once when a gateway
 * restarts, never when it was refused. Nothing is queued while it is away.
 */
export class Connection {
  constructor(url: URLs, options?: ConnectOptions);
  readonly url: URLs;
  /** With `resume`: the subprotocol that the object has agreed on, "" for none. */
  readonly protocol?: string;
  readonly status: Status;
  /** Sends if the connection is open, and says whether it did. */
  send(data: string | ArrayBufferLike | ArrayBufferView): boolean;
  /** Tries at once, also after a refusal. */
  retry(): void;
  /** Pings now. `slept`: do not wait long for the pong. */
  probe(slept?: boolean): void;
  /** Lets go, until `retry`. */
  close(code?: number, reason?: string): void;
}

/** Opens a connection and keeps it open until `close`. */
export function connect(url: URLs, options?: ConnectOptions): Connection;

/** What became of a call that failed: it did not happen, nobody was there to do it, or that cannot be known. */
export type Outcome = "refused" | "unavailable" | "unknown";

export class CallError extends Error {
  readonly name: "CallError";
  /** The error's code, such as "conflict" or "too_many"; "" if the answer had none. */
  readonly code: string;
  readonly outcome: Outcome;
  /** The HTTP status; 0 if there was no answer. */
  readonly status: number;
  /** Under which the server's log has it. */
  readonly reference: string;
  readonly details?: Record<string, unknown>;
}

export interface CallOptions {
  /** The origin, as "https://example.org"; "" in a page that calls its own gateway. */
  base?: string;
  /** The idempotency key. Every call but GET gets one of its own; name it to go on with a call of before. */
  key?: string;
  /**
   * Whether to try again what did not happen or cannot be known, under the same key. Only objects know keys:
   * set it to false for a route that writes to anything else.
   */
  retry?: boolean;
  /** Milliseconds, for all tries together: 30,000. */
  timeout?: number;
  signal?: AbortSignal;
  headers?: Record<string, string>;
  fetch?: typeof fetch;
}

export interface Answer<Output> {
  value: Output;
  /** The key under which the object remembers this answer. */
  key: string;
  /** How often it was asked. */
  attempts: number;
  /** The host that answered, as "host-1 (fra)", and the epoch of its ownership. */
  owner: string;
  epoch: number;
  /** Whether the object slept before. */
  woke: boolean;
}

/** The parameters of a path, and those of a query. */
export type Params = Record<string, string | number> | { query: Record<string, string | number | boolean> };

/**
 * A function that calls one route of a worker, with JSON in and out.
 *
 *     const claim = route<void, { ticket: number }>("POST", "/ticket/:name");
 *     const { value } = await claim({ name: "concert" });
 */
export function route<Input = void, Output = unknown>(
  method: string,
  path: string,
  defaults?: CallOptions,
): (params?: Params, input?: Input, options?: CallOptions) => Promise<Answer<Output>>;

/** A key that no other call has. */
export function newKey(): string;
