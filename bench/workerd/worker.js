// The routes of the comparison, as one would write them for workerd: a counter in a storage
// transaction, a room whose sockets may hibernate, an echo that stores nothing, a database, and
// objects that call others: one another, a thousand times another, a thousand others.

import { DurableObject } from "cloudflare:workers";

export class Thing extends DurableObject {
  async fetch(request) {
    const work = new URL(request.url).pathname.split("/")[1];
    switch (work) {
      case "ticket":
        return Response.json({ ticket: await this.claim() });
      case "ask":
        await this.claim();
        return Response.json({ ticket: await this.other(0).claim() });
      case "tell":
      case "fan":
        await Promise.all(Array.from({ length: 1000 }, (_, i) => this.other(work === "fan" ? i : 0).claim()));
        return new Response();
      case "echo":
        return new Response(await request.arrayBuffer());
      case "rows":
        return this.rows(new URL(request.url).searchParams);
      default:
        return this.join();
    }
  }

  // A database: an insert, a select by its key, or as many rows as asked for.
  rows(asked) {
    const sql = this.ctx.storage.sql;
    if (!this.made) {
      sql.exec("CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY, who TEXT NOT NULL, text TEXT NOT NULL)");
      sql.exec("CREATE INDEX IF NOT EXISTS message_who ON message (who)");
      this.made = true;
    }
    const insert = () => sql.exec("INSERT INTO message (who, text) VALUES (?, ?)", "who" + Math.floor(Math.random() * 1000), "-".repeat(100));
    switch (asked.get("do")) {
      case "insert":
        insert();
        break;
      case "select":
        sql.exec("SELECT who, text FROM message WHERE id = ?", 1 + Math.floor(Math.random() * Number(asked.get("rows")))).one();
        break;
      case "fill":
        for (let i = 0; i < Number(asked.get("rows")); i++) insert();
    }
    return new Response();
  }

  other(i) {
    return this.env.things.getByName(`${this.ctx.id.name}-${i}`);
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
    if (!name || !["ticket", "echo", "ask", "tell", "fan", "rows", "room"].includes(work) || work === "room" !== upgrade) {
      return new Response("want POST /ticket/{name}, /echo/{name}, /ask/{name}, /tell/{name}, /fan/{name} or /rows/{name}, or a WebSocket at /room/{name}\n", { status: 404 });
    }
    return env.things.getByName(`${work}/${name}`).fetch(request);
  },
};
