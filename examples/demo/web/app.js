// The page: reads the URL's parameters, gets the gateway's configuration, and starts the two halves.
import { $, copy, setText } from "./dom.js";
import { Distances } from "./distances.js";
import { showSources } from "./lessons.js";
import { Life } from "./life.js";
import { offerCrowd } from "./fill.js";
import { Owners } from "./owners.js";
import { startPlay } from "./play.js";
import { initLook } from "./theme.js";
import { initTips } from "./tip.js";
import { Tour } from "./tour.js";
import { startRace } from "./race.js";
import { offerRegions, watchRegions } from "./regions.js";
import { startRoom } from "./room.js";

const query = new URLSearchParams(location.search);
const roomName = query.get("room") || "global-demo-room";
const counterName = query.get("counter") || "global";

async function readConfig() {
  try {
    const res = await fetch("/config.json", { cache: "no-store" });
    if (res.ok) return await res.json();
  } catch (_) {
    // The page works without: it then shows no source.
  }
  return {};
}

function nameTheRoom() {
  setText($("#room-name"), roomName);
  document.title = `${roomName} · Holdfast`;
  for (const link of document.querySelectorAll(".another-tab")) link.href = location.href;
}

function offerTerminal(url) {
  for (const box of document.querySelectorAll(".terminal")) {
    const line = box.dataset.line ? box.dataset.line.replace("ORIGIN", location.origin) : `wscat -c ${url}`;
    setText($("code", box), line);
    $("button", box).addEventListener("click", (e) => copy(e.currentTarget, line));
  }
}

const socketUrl = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/room/${encodeURIComponent(roomName)}`;

initLook();
initTips();
nameTheRoom();
offerTerminal(socketUrl);

const seenEarly = new Set(); // steps seen before the tour knows which steps are possible
let seen = (step) => seenEarly.add(step);
let visitor = "guest";
const distances = new Distances();
const owners = new Owners((all) => distances.setOwners(all));
const life = new Life(roomName, (step) => seen(step));
startRoom(socketUrl, {
  seen: (step) => seen(step),
  owned(where) {
    distances.setWay(where);
    owners.note(`room/${roomName}`, { host: where.owner, region: where.ownerRegion, epoch: where.epoch });
  },
  opened: (open) => life.setOpen(open),
  named: (name) => (visitor = name),
});

const config = await readConfig();
setText($("#version"), config.version ? `Holdfast ${config.version}` : "Holdfast");
const tour = new Tour((step) => step !== "crash" || config.faults);
seen = (step) => tour.check(step);
seenEarly.forEach(seen);
showSources({ ...config.sources, ...config.panels });
offerCrowd(roomName, config.faults);
startPlay(config.panels, { owners, me: () => visitor });
const race = startRace(counterName, config, query.get("run"), {
  seen: (step) => tour.check(step),
  owned: (owner, epoch) => owners.noteHeader(`ticket/${counterName}`, owner, epoch),
});
watchRegions((regions) => {
  offerRegions(regions, config.faults);
  distances.setRegions(regions);
  race.setRegions(regions);
});
