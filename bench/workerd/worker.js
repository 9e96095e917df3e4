// The three routes of the comparison, as one would write them for workerd: a counter in a
// storage transaction, a room whose sockets may hibernate, and an echo that stores nothing.

import { DurableObject } from "cloudflare:workers";

export class Thing extends DurableObject {
  async fetch(request) {
    const work = new URL(request.url).pathname.split("/")[1];
    switch (work) {
      case "ticket":
        return Response.json({ ticket: await this.claim() });
      case "echo":
        return new Response(await request.arrayBuffer());
      default:
        return this.join();
    }
  }

  claim() {
    return this.ctx.storage.transaction(async (tx) => {
      const ticket = ((await tx.get("count")) ?? 0) + 1;
      await tx.put("count", ticket);
      return ticket;
    });
  }

  join() {
    const [client, server] = Object.values(new WebSocketPair());
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }

  webSocketMessage(from, message) {
    for (const socket of this.ctx.getWebSockets()) {
      if (socket !== from) socket.send(message);
    }
  }

  webSocketClose(socket, code) {
    socket.close(code === 1005 || code === 1006 ? 1000 : code);
  }
}

export default {
  fetch(request, env) {
    const [, work, name] = new URL(request.url).pathname.split("/");
    const upgrade = request.headers.get("Upgrade") === "websocket";
    if (!name || work !== "ticket" && work !== "echo" && work !== "room" || work === "room" !== upgrade) {
      return new Response("want POST /ticket/{name}, POST /echo/{name} or a WebSocket at /room/{name}\n", { status: 404 });
    }
    return env.things.getByName(`${work}/${name}`).fetch(request);
  },
};
