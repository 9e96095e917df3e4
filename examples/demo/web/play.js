// Four objects to play with. Each panel asks its object over HTTP, as the curl line beside it does.
import { newKey, route } from "/client/index.js";
import { $, h, setText } from "./dom.js";
import { sayName } from "./crowd.js";
import { sayJob, sayLimited, sayPaid, sayRank } from "./playwords.js";

const TAB = newKey().slice(0, 8); // part of the names of this page's own objects
const POLL = 500;

/** panels are the sources of the gateway's panels, by class; me() returns the visitor's name. */
export function startPlay(panels = {}, { owners, me }) {
  const start = { leaderboard, limit, payment, jobs };
  for (const [name, begin] of Object.entries(start)) {
    const root = $(`#panel-${name}`);
    root.hidden = !panels[name];
    if (panels[name]) begin(root, { owners, me, say: (text) => setText($(".says", root), text) });
  }
  $("#panels").hidden = Object.keys(start).every((name) => !panels[name]);
}

/** Runs an action for each press, and shows its errors. */
function onPress(button, say, action) {
  button.addEventListener("click", async () => {
    try {
      await action();
    } catch (err) {
      say(`It failed: ${err.message}.`);
    }
  });
}

// --- leaderboard ---

const GAME = "page";

function leaderboard(root, { owners, me, say }) {
  const [report, top] = [route("POST", "/leaderboard/:game"), route("GET", "/leaderboard/:game")];
  const body = $("tbody", root);

  async function show() {
    const { value, owner, epoch } = await top({ game: GAME, query: { count: 5 } });
    owners.noteHeader(`leaderboard/${GAME}`, owner, epoch);
    const row = (e) => h("tr", { class: e.player === me() ? "mine" : null }, h("td", { text: e.rank }), h("th", { scope: "row", text: sayName(e.player) }), h("td", { text: e.points }));
    body.replaceChildren(...value.map(row));
    $("table", root).hidden = value.length === 0;
  }

  onPress($("button", root), say, async () => {
    const points = 1 + Math.floor(Math.random() * 1000);
    const { value } = await report({ game: GAME }, { player: me(), points });
    say(sayRank(points, value));
    await show();
  });
  whenSeen(root, () => show().catch((err) => say(`The board cannot be read: ${err.message}.`)));
}

// --- rate limiter ---

const A_MINUTE = 5;

function limit(root, { owners, say }) {
  const take = route("POST", "/limit/:who");
  const who = `page-${TAB}`;
  const pips = $(".pips", root);
  const show = (left) => pips.replaceChildren(...Array.from({ length: A_MINUTE }, (_, k) => h("i", { class: k < left ? "pip" : "pip used" })));
  show(A_MINUTE);
  onPress($("button", root), say, async () => {
    try {
      const { value, owner, epoch } = await take({ who });
      owners.noteHeader(`limit/${who}`, owner, epoch);
      show(value);
      say(value ? `Allowed. ${value} left this minute.` : "Allowed. None is left this minute: press once more.");
    } catch (err) {
      if (err.code !== "too_many") throw err;
      show(0);
      say(sayLimited(err.details, Date.now()));
    }
  });
}

// --- payment ---

const CENTS = 1250;

function payment(root, { owners, say }) {
  const pay = route("POST", "/payment/:id");
  const [once, twice, another] = root.querySelectorAll(".buttons button");
  const list = $("ol", root);
  let orders = 0;
  let id = "";
  let receipts = [];

  function begin() {
    id = `order-${TAB}-${++orders}`;
    receipts = [];
    list.replaceChildren();
    setText($(".order", root), id);
    say("Nothing is paid yet.");
  }

  async function press() {
    const began = performance.now();
    const item = list.appendChild(h("li", { text: "asked…" }));
    const of = receipts;
    try {
      const { value, owner, epoch } = await pay({ id }, { cents: CENTS, card: "4242" });
      owners.noteHeader(`payment/${id}`, owner, epoch);
      item.textContent = `${value.receipt}, after ${Math.round(performance.now() - began)} ms`;
      of.push(value.receipt);
    } catch (err) {
      item.textContent = `not paid: ${err.message}`;
    }
    if (of === receipts) say(sayPaid(receipts));
  }

  once.addEventListener("click", press);
  twice.addEventListener("click", () => Promise.all([press(), press()]));
  another.addEventListener("click", begin);
  begin();
}

// --- jobs ---

function jobs(root, { owners, say }) {
  const [add, all] = [route("POST", "/jobs/:queue"), route("GET", "/jobs/:queue")];
  const queue = `page-${TAB}`;
  const [easy, hard] = root.querySelectorAll(".buttons button");
  const list = $("ol", root);
  let added = 0;
  let watching = false;

  const enqueue = (what) => async () => {
    const id = `job ${++added}`;
    const { owner, epoch } = await add({ queue }, { id, what });
    owners.noteHeader(`jobs/${queue}`, owner, epoch);
    say(`${id} is in the queue. It runs beside the queue's events.`);
    if (!watching) watch();
  };

  async function watch() {
    watching = true;
    try {
      for (let busy = true; busy; ) {
        const { value } = await all({ queue });
        list.replaceChildren(...value.slice(-4).map((j) => h("li", { "data-state": j.state, text: sayJob(j, Date.now()) })));
        busy = value.some((j) => j.state === "waiting");
        if (busy) await new Promise((done) => setTimeout(done, POLL));
      }
      say("All jobs are done.");
    } catch (err) {
      say(`The queue cannot be read: ${err.message}.`);
    }
    watching = false;
  }

  onPress(easy, say, enqueue("easy"));
  onPress(hard, say, enqueue("stumble"));
}

// --- all of them ---

/** Calls once, when an element is first visible. */
function whenSeen(el, then) {
  const watch = new IntersectionObserver((entries) => {
    if (!entries.some((e) => e.isIntersecting)) return;
    watch.disconnect();
    then();
  });
  watch.observe(el);
}
