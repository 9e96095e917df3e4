// The room: the socket's messages become cursors, ripples, the presence list and the pill, and the
// moves of the visitor's pointer are sent. All state here may be lost at any moment; hello begins it anew.
import { $, setText } from "./dom.js";
import { Cursors } from "./cursors.js";
import { Ripples } from "./ripples.js";
import { Presence } from "./presence.js";
import { Pointer } from "./pointer.js";
import { RoomSocket } from "./socket.js";
import { Connection } from "/client/index.js";
import { median, mountPill } from "./pill.js";
import { sayName } from "./crowd.js";
import { newcomer, person } from "./frames.js";
import { onMotionChange } from "./theme.js";
import { hideToast, toast } from "./toast.js";

const MOVED_FOR = 5000; // how long the pill names a new owner
const TOAST_AFTER = 5000; // a shorter loss is not reported
const KNOWN = 300; // people whose names are kept; the room may have more

// Other clients can send anything, with wscat for example.
const isPoint = (m) => Number.isFinite(m.x) && Number.isFinite(m.y);
const inside = (v) => Math.min(10000, Math.max(0, v));
const withLabel = (p) => ({ ...p, label: sayName(p.name) });

/**
 * seen(step) is called with what a visitor has seen, owned(where) with the owner and its distance, opened(open)
 * with whether the room is connected, named(name) with the visitor's name.
 */
export function startRoom(url, { seen, owned, opened, named }) {
  const stage = $("#stage");
  const room = { me: null, peers: new Map(), asked: new Set(), people: 0, rtts: [], link: { phase: "connecting", attempt: 0 }, moved: null, where: {} };
  const cursors = new Cursors($("#cursors"));
  const ripples = new Ripples($("#ripples"));
  const presence = new Presence();
  const socket = new RoomSocket(url, { state: linkChanged, message: received, rtt: measured }, Connection);
  const showPill = mountPill(() => socket.retryNow());
  const pointer = new Pointer(stage, { move: moved, ripple: rippled });
  let lost = 0;
  let countdown = 0;

  onMotionChange(() => cursors.refresh());
  watchTheWorld();
  socket.start();

  // --- what the visitor does ---

  function moved(x, y, kind) {
    socket.send(kind === "touch" ? { type: "cursor", x, y, pointer: "touch" } : { type: "cursor", x, y });
  }

  function rippled(x, y) {
    const me = room.me?.userId || "me";
    if (!ripples.allow(me)) return;
    const sent = socket.send({ type: "ripple", x, y });
    ripples.show(me, x, y, room.me?.color || "currentColor", sent);
  }

  // --- what the room says ---

  function received(m) {
    if (Object.hasOwn(handlers, m.type)) handlers[m.type](m);
  }

  const handlers = {
    hello(m) {
      const before = room.where.epoch;
      room.me = person(m);
      const peers = (m.peers || []).map(person).filter((p) => p.userId !== m.userId);
      for (const id of room.peers.keys()) if (!peers.some((p) => p.userId === id)) forget(id);
      room.peers = new Map(peers.map((p) => [p.userId, withLabel(p)]));
      room.asked.clear();
      presence.reset(room.me, peers);
      setPeople(Number.isSafeInteger(m.people) ? m.people : peers.length + 1);
      named(room.me.name);
      setOwner(m);
      if (before && m.epoch > before) ownerMoved(before, m.epoch);
      setText($("#me .tag"), sayName(m.name));
      $("#me").style.setProperty("--who", room.me.color);
      setText($("#you-are"), `You are ${sayName(m.name)}.`);
      showEmpty();
      tellPosition(0);
      if (document.hidden) socket.send({ type: "away", away: true });
    },
    join(m) {
      const peer = newcomer(m, (id) => id === room.me.userId || room.peers.has(id));
      if (!peer) return;
      meet(peer);
      presence.announce(peer, true);
      setPeople(room.people + 1);
      // A newcomer does not know where cursors are. Each client sends its position, at a random moment.
      tellPosition(Math.random() * 300);
    },
    leave(m) {
      const peer = room.peers.get(m.userId);
      // In a large room some people are not in the list, and they leave, too.
      const counted = peer || room.people > room.peers.size + 1;
      if (peer) presence.announce(peer, false);
      drop(m.userId);
      if (counted) setPeople(room.people - 1);
    },
    people(m) {
      if (Number.isSafeInteger(m.people)) setPeople(m.people);
    },
    person(m) {
      const peer = newcomer(m, (id) => id === room.me.userId || room.peers.has(id));
      if (peer) meet(peer);
    },
    cursor(m) {
      const peer = room.peers.get(m.userId);
      if (!peer) return ask(m.userId);
      seen("meet");
      if (isPoint(m)) cursors.move(peer, inside(m.x), inside(m.y), m.pointer === "touch");
      else cursors.hide(m.userId);
      presence.active(m.userId);
    },
    ripple(m) {
      const peer = room.peers.get(m.userId);
      if (!peer || !isPoint(m) || !ripples.allow(m.userId)) return;
      ripples.show(m.userId, inside(m.x), inside(m.y), peer.color);
      cursors.active(m.userId);
      presence.active(m.userId);
    },
    away(m) {
      presence.active(m.userId, !!m.away);
    },
    owner(m) {
      ownerMaybeMoved(m);
    },
    pong(m) {
      if (m.epoch) ownerMaybeMoved(m);
    },
    error(m) {
      toast(m.message || `The room refused a message (${m.code}).`, 6000);
    },
  };

  function meet(peer) {
    if (room.peers.size >= KNOWN) drop(room.peers.keys().next().value);
    room.peers.set(peer.userId, withLabel(peer));
    presence.add(peer);
    showEmpty();
  }

  // A person moves who was not announced, because the room was too full.
  function ask(userId) {
    if (userId === room.me?.userId || room.asked.has(userId) || room.asked.size >= KNOWN) return;
    room.asked.add(userId);
    socket.send({ type: "who", userId });
  }

  function drop(userId) {
    forget(userId);
    room.peers.delete(userId);
    presence.drop(userId);
    showEmpty();
  }

  function setPeople(n) {
    room.people = Math.max(1, n);
    presence.setCount(room.people);
    showEmpty();
  }

  function forget(userId) {
    cursors.remove(userId);
    ripples.forget(userId);
  }

  function tellPosition(wait) {
    setTimeout(() => pointer.at && moved(pointer.at.x, pointer.at.y, pointer.at.kind), wait);
  }

  // --- the owner ---

  function setOwner(m) {
    Object.assign(room.where, { owner: m.owner, ownerRegion: m.ownerRegion, epoch: m.epoch });
    if (m.region) room.where.region = m.region;
    paint();
  }

  // An answer of an earlier owner may come late.
  function ownerMaybeMoved(m) {
    const before = room.where.epoch;
    if (m.epoch < before) return;
    setOwner(m);
    if (before && m.epoch > before) ownerMoved(before, m.epoch);
  }

  function ownerMoved(from, to) {
    room.moved = { from, to };
    room.rtts = [];
    setTimeout(() => {
      room.moved = null;
      paint();
    }, MOVED_FOR);
    paint();
  }

  function measured(rtt) {
    room.rtts = [...room.rtts, rtt].slice(-5);
    paint();
  }

  // --- the connection ---

  function linkChanged(link) {
    room.link = link;
    const open = link.phase === "open";
    if (open || room.me) stage.dataset.live = open; // before the first hello nothing on the stage can be stale
    opened(open);
    cursors.freeze(!open);
    clearInterval(countdown);
    if (link.phase === "waiting") countdown = setInterval(paint, 100);
    if (open) {
      clearTimeout(lost);
      lost = 0;
      hideToast();
    } else if (!lost && link.phase !== "refused") {
      room.rtts = [];
      lost = setTimeout(sayLost, TOAST_AFTER);
    }
    paint();
  }

  function sayLost() {
    if (!room.me) {
      toast("This page needs WebSockets and cannot open one. A proxy may be blocking them. Still trying.");
      return;
    }
    toast("Lost the room for now. Your moves are not being sent; the page keeps trying.");
  }

  function paint() {
    const { link } = room;
    showPill({
      ...link,
      ...room.where,
      online: navigator.onLine,
      moved: room.moved,
      rtt: median(room.rtts),
      retryIn: link.retryAt ? link.retryAt - performance.now() : 0,
    });
    owned({ ...room.where, rtt: median(room.rtts) });
    const { owner, region, ownerRegion, epoch } = room.where;
    if (owner) {
      const way = region && region !== ownerRegion ? ` You come in through ${region}.` : "";
      setText($("#room-owner"), `Owned by ${owner}, epoch ${epoch}.${way}`);
    }
  }

  function showEmpty() {
    if ([...room.peers.values()].some((p) => p.region !== room.where.region)) seen("ocean");
    $("#alone").hidden = room.people > 1;
  }

  // The connection comes back by itself; here is only what belongs to the room.
  function watchTheWorld() {
    addEventListener("offline", paint);
    addEventListener("pagehide", () => socket.stop());
    addEventListener("pageshow", (e) => e.persisted && socket.retryNow());
    document.addEventListener("visibilitychange", () => socket.send({ type: "away", away: document.hidden }));
  }
}
