// Holdfast for browsers and node. The types and what they mean are in index.d.ts.
export { Connection, connect } from "./connection.js";
export { CallError, newKey, route } from "./call.js";
