/**
 * Holdfast for browsers and node: WebSockets that come back, and calls that count once.
 *
 * Needs `WebSocket` and `fetch`. Node has `fetch` from 20 on and `WebSocket` from 22 on; before that, give a
 * WebSocket class in `env`.
 */

/** The phase of a connection. */
export type Phase =
  | "connecting" // a socket is being opened
  | "open" // the socket is open, and ready
  | "waiting" // the socket was lost; the next try is at `retryAt`
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
  /** For a person: the reason of a refusal, or the reference of a fault. */
  reason?: string;
  /** In the phase "open": a ping has had no answer for so long that the object is probably moving to another host. */
  silent?: boolean;
}

export type Data = string | ArrayBuffer;

/** The pings that find a dead connection which looks open. The object has to answer them. */
export interface Heartbeat {
  /** Returns the message to send as a ping. */
  ping(): string | ArrayBufferLike | ArrayBufferView;
  /** Returns whether a message answers a ping. */
  isPong(data: Data): boolean;
}

/** The messages that a socket has missed when it comes back. */
export interface Gap {
  /** The number of messages that were not received; null: not known. */
  missed: number | null;
  /** The time to come back was over: to its object this is a new socket, and a greeting comes again. */
  fresh: boolean;
  /** The number of sent messages that the object may or may not have handled. They are not sent again. */
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
   * Come back as the same socket after a loss: messages to it from meanwhile follow, and its own messages that were
   * not taken are sent again. The class has to allow that (`Settings.Resume`); with a class that does not, a
   * connection comes back as a new socket, as without `resume`.
   */
  resume?: boolean;
  /** Called with `resume` if messages were missed, or the socket is a new one. Load again what you show. */
  onGap?(gap: Gap, connection: Connection): void;
  /** Called with every message while the connection is open, including the one that made it ready. */
  onMessage?(data: Data, connection: Connection): void;
  /** Called with every change of status. */
  onStatus?(status: Status, connection: Connection): void;
  /** Returns whether a message, such as a greeting, makes the connection ready. Without it, an open socket is ready. */
  ready?(data: Data): boolean;
  heartbeat?: Heartbeat;
  /** false: do not watch the network, the page's visibility and the clock for signs of a loss. */
  watch?: boolean;
  /** Milliseconds: for a connection to be ready, between pings, for a pong, and so on. */
  times?: Partial<Record<"open" | "ping" | "pingSoon" | "pong" | "pongAfterSleep" | "silent" | "stable", number>>;
  /** Replacements for parts of the browser, for tests and for node before 22. */
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
 * restarts, never after a refusal. Nothing is queued while the connection is down.
 */
export class Connection {
  constructor(url: URLs, options?: ConnectOptions);
  readonly url: URLs;
  /** With `resume`: the agreed subprotocol, "" for none. */
  readonly protocol?: string;
  readonly status: Status;
  /** Sends if the connection is open, and returns whether it did. */
  send(data: string | ArrayBufferLike | ArrayBufferView): boolean;
  /** Tries at once, also after a refusal. */
  retry(): void;
  /** Pings at once. `slept`: do not wait long for the pong. */
  probe(slept?: boolean): void;
  /** Closes the connection. `retry` opens it again. */
  close(code?: number, reason?: string): void;
}

/** Opens a connection and keeps it open until `close`. */
export function connect(url: URLs, options?: ConnectOptions): Connection;

/** How a call failed: it was refused, no host could take it, or it may or may not have happened. */
export type Outcome = "refused" | "unavailable" | "unknown";

export class CallError extends Error {
  readonly name: "CallError";
  /** The error's code, such as "conflict" or "too_many"; "" if the answer had none. */
  readonly code: string;
  readonly outcome: Outcome;
  /** The HTTP status; 0 if there was no answer. */
  readonly status: number;
  /** The reference of the error in the server's log. */
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
