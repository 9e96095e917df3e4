// A client that the end-to-end tests run against a real gateway: it says a line of JSON for everything that
// happens to it. Usage: node client.mjs http://host:port, with a WebSocket class where node has none.
import { createRequire } from "node:module";
import { connect, newKey, route } from "../../clients/js/index.js";

const [base] = process.argv.slice(2);
const WebSocket = globalThis.WebSocket ?? createRequire(process.env.WS_FROM)("ws");
const say = (line) => console.log(JSON.stringify(line));

const is = (type) => (data) => {
  try {
    return JSON.parse(data).type === type;
  } catch {
    return false;
  }
};

const room = connect(`${base.replace("http", "ws")}/room/node`, {
  env: { WebSocket },
  ready: is("hello"),
  heartbeat: { ping: () => JSON.stringify({ type: "ping", t: 1 }), isPong: is("pong") },
  onStatus: ({ phase, code, attempt }) => say({ phase, code, attempt }),
});

// Each line that is typed is a command.
const claim = route("POST", "/ticket/:name", { base });
const peek = route("GET", "/ticket/:name", { base });
const key = newKey();
const commands = {
  claim: async () => say({ claimed: (await claim({ name: "node" }, undefined, { key })).value.ticket }),
  peek: async () => {
    const { value, owner, epoch } = await peek({ name: "node" });
    say({ peeked: value.ticket, owner, epoch });
  },
  bad: async () => say(await route("POST", "/race/:name", { base })({ name: "x" }, { n: -1 }).catch((e) => ({ code: e.code, outcome: e.outcome, status: e.status }))),
  bye: async () => {
    room.close(1000);
    process.stdin.destroy();
  },
};
let rest = "";
process.stdin.on("data", (data) => {
  const lines = (rest + data).split("\n");
  rest = lines.pop();
  for (const line of lines) commands[line]().catch((e) => say({ failed: String(e) }));
});
