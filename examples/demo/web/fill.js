// A crowd that does nothing: the process opens sockets to itself, and its own counters say what they cost.
import { $, setText } from "./dom.js";
import { ndjson } from "./ndjson.js";

const number = (n) => n.toLocaleString("en");

/** Bytes as people read them; no DOM. */
export function sayBytes(n) {
  if (n < 1 << 20) return `${(n / 1024).toFixed(1)} KB`;
  return `${(n / (1 << 20)).toFixed(1)} MB`;
}

/** What a crowd costs, in words; no DOM. */
export function sayCost({ people, missing, why, ms, bytes, client, goroutines }) {
  if (!people) return `Nobody could come in: ${why || "no reason is known"}.`;
  const own = Math.max(0, bytes - client);
  const parts = [
    `${number(people)} sockets came in ${(ms / 1000).toFixed(1)} s. With them the process holds ${sayBytes(bytes)} and ${number(goroutines)} goroutines more.`,
    `${sayBytes(client)} of that is their other end, the clients', which is in this process too. The rest is ours, from NATS to the room: ${sayBytes(own / people)} each.`,
  ];
  if (missing) parts.push(`${number(missing)} could not come in: ${why}.`);
  return parts.join(" ");
}

/** What they hear, in words; no DOM. */
export function sayResting({ people, messages, leaveMs }) {
  return `In the last second all ${number(people)} together were sent ${messages ? number(messages) : "no"} message${messages === 1 ? "" : "s"}. They leave in ${Math.ceil(leaveMs / 1000)} s.`;
}

/** The button that fills the room, and sends the people home again. */
export function offerCrowd(roomName, can) {
  const [button, said, rest] = [$("#fill"), $("#fill-says"), $("#fill-rest")];
  let here = null; // aborts the request for whose time the crowd stays
  button.hidden = !can;
  button.addEventListener("click", () => (here ? here.abort() : fill()));

  async function fill() {
    here = new AbortController();
    setText(button, "Send them home");
    setText(said, "They are coming…");
    setText(rest, "");
    try {
      const res = await fetch(`/room/${encodeURIComponent(roomName)}/crowd`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ people: Number(button.dataset.people) }), signal: here.signal,
      });
      if (!res.ok) throw new Error((await res.json().catch(() => ({}))).message || `status ${res.status}`);
      for await (const line of ndjson(res.body)) show(line);
    } catch (err) {
      if (err.name !== "AbortError") setText(said, `The room was not filled: ${err.message}.`);
    }
    here = null;
    setText(rest, "");
    setText(button, "Fill with 2,000 people");
  }

  function show(line) {
    if (line.type === "filling") setText(rest, `${number(line.people)} are here.`);
    if (line.type === "filled") setText(said, sayCost(line));
    if (line.type === "filled") setText(rest, "");
    if (line.type === "resting") setText(rest, sayResting(line));
  }
}
