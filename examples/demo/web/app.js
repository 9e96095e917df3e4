// The page: reads what it was opened with, asks the gateway who it is, and starts the two halves.
import { $, copy, h, setText } from "./dom.js";
import { initLook } from "./theme.js";
import { startRace } from "./race.js";
import { startRoom } from "./room.js";

const query = new URLSearchParams(location.search);
const roomName = query.get("room") || "global-demo-room";
const counterName = query.get("counter") || "global";

async function readConfig() {
  try {
    const res = await fetch("/config.json", { cache: "no-store" });
    if (res.ok) return await res.json();
  } catch (_) {
    // The page works without: it then knows no other regions and shows no source.
  }
  return {};
}

function nameTheRoom() {
  setText($("#room-name"), roomName);
  document.title = `${roomName} · Holdfast`;
  for (const link of document.querySelectorAll(".another-tab")) link.href = location.href;
}

function offerTerminal(url) {
  const line = `wscat -c ${url}`;
  for (const box of document.querySelectorAll(".terminal")) {
    setText($("code", box), line);
    $("button", box).addEventListener("click", (e) => copy(e.currentTarget, line));
  }
}

/** Links to the same room through the other gateways. */
function offerRegions(config) {
  const others = (config.regions || []).filter((r) => r.url && new URL(r.url, location).host !== location.host);
  $("#regions").hidden = others.length === 0;
  for (const r of others) {
    const url = new URL(r.url, location);
    url.search = location.search;
    const link = h("a", { href: url.href, target: "_blank", rel: "noopener", title: r.city || r.code }, h("b", { text: r.code }), r.city ? ` ${r.city}` : "");
    $("#regions ul").append(h("li", null, link));
  }
}

const socketUrl = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/room/${encodeURIComponent(roomName)}`;

initLook();
nameTheRoom();
offerTerminal(socketUrl);
startRoom(socketUrl);

const config = await readConfig();
offerRegions(config);
setText($("#version"), config.version ? `Holdfast ${config.version}` : "Holdfast");
startRace(counterName, config);
