// Clients that sit in rooms, come back when they are lost, and count what they miss, under node or in a page:
//
//	node --experimental-websocket seats.mjs '{"urls": ["ws://…"], "rooms": 20, "clients": 1000}'
//
// The commands come on standard input, a word a line: "reset" begins a phase, "report" tells of it, "who" has every
// client ask its object who it is.
import { connect } from "../clients/js/index.js";

class Seat {
  id = null; // of the socket, as its object has it
  last = null; // the newest number
  lastAt = null;
  gapped = false; // a gap was told since
  counts = { missed: 0, doubled: 0, gaps: 0, changed: 0, got: 0 };
  silence = 0; // the longest between two messages, in milliseconds

  constructor(config, i) {
    this.connection = connect(config.urls.map((url) => `${url}/seat/room-${i % config.rooms}`), {
      resume: true,
      watch: false,
      onMessage: (data) => this.hear(JSON.parse(data)),
      onGap: ({ fresh }) => {
        this.counts.gaps++;
        this.gapped = true;
        if (fresh) this.last = null;
      },
    });
  }

  hear({ id, n }) {
    if (id !== undefined) {
      if (this.id !== null && this.id !== id) this.counts.changed++;
      this.id = id;
      return;
    }
    const now = performance.now();
    if (this.lastAt !== null) this.silence = Math.max(this.silence, now - this.lastAt);
    this.lastAt = now;
    this.counts.got++;
    if (this.last !== null && n <= this.last) this.counts.doubled++;
    else if (this.last !== null && n > this.last + 1 && !this.gapped) this.counts.missed += n - this.last - 1;
    this.gapped = false;
    this.last = n;
  }

  reset() {
    this.silence = 0;
    for (const name in this.counts) this.counts[name] = 0;
  }
}

export function sit(config) {
  const seats = Array.from({ length: config.clients }, (_, i) => new Seat(config, i));
  return {
    reset: () => seats.forEach((s) => s.reset()),
    who: () => seats.forEach((s) => s.connection.send("who")),
    report() {
      const all = { open: 0, missed: 0, doubled: 0, gaps: 0, changed: 0, got: 0, behind: 0 };
      const newest = new Map();
      for (const [i, s] of seats.entries()) newest.set(i % config.rooms, Math.max(newest.get(i % config.rooms) ?? 0, s.last ?? 0));
      for (const [i, s] of seats.entries()) {
        if (s.connection.status.phase === "open") all.open++;
        if (s.last !== newest.get(i % config.rooms)) all.behind++;
        for (const name in s.counts) all[name] += s.counts[name];
      }
      const silences = seats.map((s) => s.silence).sort((a, b) => a - b);
      const at = (q) => Math.round(silences[Math.min(silences.length - 1, Math.floor(q * silences.length))]);
      return { ...all, p50: at(0.5), p99: at(0.99), max: at(1) };
    },
  };
}

if (globalThis.process?.argv?.[2]) {
  const room = sit(JSON.parse(process.argv[2]));
  let text = "";
  process.stdin.setEncoding("utf8");
  process.stdin.on("data", (chunk) => {
    text += chunk;
    for (let end; (end = text.indexOf("\n")) >= 0; text = text.slice(end + 1)) {
      const answer = room[text.slice(0, end)]();
      if (answer) console.log(JSON.stringify(answer));
    }
  });
  process.stdin.on("end", () => process.exit(0));
}
