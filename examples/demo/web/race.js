// The race: the controls, one run at a time, and what both columns show of it.
//
// A run always covers all three counters. The right column shows the naive one, or, with the switch on,
// the one that compares and sets; switching shows another part of the same run.
import { $, setText } from "./dom.js";
import { Column } from "./column.js";
import { COUNTERS, Counters } from "./counters.js";
import { fire } from "./fire.js";
import { lastUs } from "./geometry.js";
import { ndjson } from "./ndjson.js";
import { Options } from "./options.js";
import { Playback, sayPace, sayTook } from "./playback.js";
import { Tally } from "./tally.js";
import { motionReduced } from "./theme.js";
import { seenIn } from "./tour.js";
import { judge, luck, sayDeath } from "./verdict.js";

const N = 15;

const narrow = matchMedia("(max-width: 760px)"); // the columns stand one below the other

const RIGHT = {
  naive: { title: "Worker + KV", tagline: "read, add one, write", foot: "No owner: any gateway may write at any time." },
  cas: { title: "Worker + KV", tagline: "compare-and-set, then retry", foot: "No owner: whoever loses the write reads again and retries." },
};

// What shows at one press that a cache sells a ticket twice, and that no gap is needed for it.
const STALE = { fired: "gateway", gapMs: 0, spreadMs: 800, ttlS: 30, limit: false };

const EMPTY = "Press Stress test ×15. Nothing is faked: these are live counters, and this box will say what happened.";

/**
 * Starts the race; runId names a recorded run to show first. seen(step) is called with what a visitor has seen,
 * owned(owner, epoch) with the counter's owner. Returns {setRegions(regions)}.
 */
export function startRace(counterName, config, runId, { seen, owned }) {
  const counters = new Counters(counterName);
  const left = new Column($("#col-object"), "object", "the object");
  const right = new Column($("#col-kv"), "kv", "the KV counter");
  const playback = new Playback(showMoment);
  const tally = new Tally();
  const options = new Options(config);
  const toggle = $("#cas-toggle");
  const [claim, stress, stale, crash, reset] = [$("#claim-one"), $("#stress"), $("#stale"), $("#crash"), $("#reset")];
  let values = {};
  let run = null; // the last finished run: counter -> {attempts, verdict}
  let running = false;
  let own = false; // the displayed run was made on this page
  let verdict = null; // the text to announce when the replay has ended; null: announced already

  claim.addEventListener("click", () => claimOne());
  stress.addEventListener("click", () => stressTest("Racing…", (order) => order));
  stale.addEventListener("click", () => {
    const from = options.two();
    stressTest(`Racing without a gap over 0.8 s, from ${from.join(" and ")}. In each region KV keeps what it has read for 30 s.`, (order) => ({ ...order, ...STALE, from }));
  });
  crash.hidden = !config.faults;
  crash.addEventListener("click", () => {
    // Fired by this gateway, which sees it all.
    stressTest("Racing, and killing the owner in the midst. A new host starts five seconds later.", (order) => ({ ...order, fired: "gateway", from: [], crash: true }));
  });
  toggle.addEventListener("change", () => showRight());
  startReset();
  showRight();
  left.showEmpty(N);
  say("empty", EMPTY);
  peekAll();
  if (runId) showRecorded(runId);

  function shown() {
    return toggle.checked ? "cas" : "naive";
  }

  function showRight() {
    const words = RIGHT[shown()];
    setText($("h3", right.root), words.title);
    setText($(".tagline", right.root), words.tagline);
    setText($(".foot", right.root), words.foot);
    right.setValue(values[shown()]);
    if (run) showRun(false);
    else right.showEmpty(N);
  }

  // --- one claim ---

  // Not disabled while a claim is under way: two quick clicks may get the same KV ticket.
  async function claimOne() {
    if (running) return;
    const kv = shown();
    const [object, other] = await Promise.allSettled([counters.claim("object", options.read()), counters.claim(kv, options.read())]);
    if (object.status === "fulfilled") owner(object.value);
    const told = [claimed("The object", left, "object", object), claimed("KV", right, kv, other)];
    setText($("#claim-spoken"), told.join(" "));
  }

  function claimed(name, column, counter, result) {
    if (result.status === "rejected") {
      column.setTrouble(failure(result.reason));
      return `${name}: ${failure(result.reason)}`;
    }
    column.setTrouble("");
    values[counter] = result.value.ticket;
    column.addClaim(result.value.ticket, N);
    return `${name} gave ticket ${result.value.ticket}.`;
  }

  // --- the stress test ---

  // alter changes the order that the options give.
  async function stressTest(announcement, alter) {
    if (running) return;
    setRunning(true);
    playback.clear();
    verdict = null;
    say("empty", announcement);
    if (narrow.matches) $("#verdict").scrollIntoView({ behavior: motionReduced() ? "instant" : "smooth", block: "start" });
    const got = empty();
    try {
      for await (const line of lines(alter({ ...options.read(), counters: COUNTERS, n: N }))) absorb(got, line);
      own = true;
      finish(got);
      tally.add({ naive: run.naive.verdict.lost, object: run.object.verdict.lost, n: N });
    } catch (err) {
      dropUnfinished(got);
      say("warn", `The run could not be finished: ${err.message}.`, "What was not answered is not counted as lost.");
    } finally {
      setRunning(false);
    }
    peekAll();
  }

  // A recorded run: its events and its verdicts are those of the recording.
  async function showRecorded(id) {
    const got = empty();
    try {
      for await (const line of ndjson((await counters.recorded(id)).body)) absorb(got, line);
      finish(got);
    } catch (err) {
      say("warn", `The recorded run cannot be shown: ${err.message}.`);
    }
  }

  function empty() {
    return new Map(COUNTERS.map((c) => [c, { attempts: [], faults: [], verdict: null }]));
  }

  async function* lines(order) {
    if (order.fired === "gateway") {
      const res = await counters.race(order);
      yield* ndjson(res.body);
      return;
    }
    yield* fire(order, {
      claim: (counter) => counters.claim(counter, order),
      peek: async (counter) => (await counters.peek(counter)).ticket,
      now: () => performance.now(),
      sleep: (ms) => new Promise((done) => setTimeout(done, ms)),
    });
  }

  function absorb(got, line) {
    const part = got.get(line.counter);
    if (line.type === "done") offerLink(line.run);
    if (line.type === "error") throw new Error(line.message || line.code);
    if (!part) return;
    if (line.type === "verdict") part.verdict = line;
    if (line.type === "fault") part.faults.push(line);
    if (line.type !== "attempt") return;
    part.attempts.push(line);
    if (line.counter === "object") left.showProgress(part.attempts, N);
    if (line.counter === shown()) right.showProgress(part.attempts, N);
    const done = (c) => got.get(c).attempts.length;
    setText($("#progress"), `object ${done("object")} / ${N}, KV ${done(shown())} / ${N}`);
  }

  function finish(got) {
    for (const [counter, part] of got) {
      if (!part.attempts.length) throw new Error("the gateway stopped in the middle");
      // A run that was cut off after its last attempt lacks only the stored value for a verdict.
      part.verdict ||= judge(counter, part.attempts, 0, Math.max(0, ...part.attempts.map((a) => a.ticket || 0)));
      values[counter] = part.verdict.after;
    }
    run = Object.fromEntries(got);
    showRun(true);
  }

  // The numbers of a run without an end are removed, since they are no result.
  function dropUnfinished(got) {
    if ([...got.values()].some((part) => part.attempts.length)) {
      run = null;
      for (const column of [left, right]) column.showEmpty(N);
    } else if (run) showRun(false);
  }

  function showRun(replay) {
    const [a, b] = [run.object, run[shown()]];
    const refused = a.faults.filter((f) => f.what === "refused").map((f) => f.atUs * 1.03);
    const maxUs = Math.max(lastUs(a.attempts), lastUs(b.attempts), ...refused);
    const faster = shown() === "naive" && !a.faults.length && b.verdict.p50Us < a.verdict.p50Us ? (b.verdict.lost ? "faster, and wrong" : "faster") : "";
    left.setTrouble(unavailable(a.attempts));
    right.setTrouble("");
    left.showRun(a.attempts, a.verdict, maxUs, { faults: a.faults });
    right.showRun(b.attempts, b.verdict, maxUs, { faster });
    const moments = [...a.attempts, ...b.attempts].flatMap((x) => [x.answeredUs, ...(x.tries || []).flatMap((t) => [t.readUs, t.wroteUs])]);
    const death = sayDeath(a.attempts, a.faults);
    verdict = () => (death ? tellDeath(death, a.verdict) : tell(b.verdict, a.verdict));
    if (replay) say("empty", `The run took ${sayTook(maxUs)}. Watch it, ${sayPace(maxUs)}; the verdict comes at the end.`);
    playback.load(maxUs, moments.filter(Boolean), replay);
  }

  function showMoment(us, over) {
    for (const column of [left, right]) column.at(us);
    if (!over || !verdict) return;
    verdict();
    verdict = null;
    if (own) seenIn(run, shown()).forEach(seen);
  }

  function tell(v, object) {
    const wrong = v.duplicates > 0 || v.lost > 0;
    const shaky = v.unknown > 0 || v.refused > 0;
    say(wrong ? "bad" : shaky ? "warn" : "good", v.sentence, [luck(v), object.sentence].filter(Boolean).join(" "));
  }

  function tellDeath(death, object) {
    const whole = object.duplicates === 0 && object.lost === 0 && object.lostMax === 0;
    say(whole ? "good" : object.lost || object.duplicates ? "bad" : "warn", death, object.sentence);
  }

  function unavailable(attempts) {
    const n = attempts.filter((a) => a.outcome === "unavailable").length;
    return n ? `The owner was moving: ${n} of ${attempts.length} requests were not executed. None is lost.` : "";
  }

  function offerLink(id) {
    const link = $("#run-link");
    link.hidden = !id;
    if (id) link.href = `/?${new URLSearchParams({ run: id })}`;
  }

  // --- the values of the counters ---

  async function peekAll() {
    const answers = await Promise.allSettled(COUNTERS.map((c) => counters.peek(c)));
    for (const [k, answer] of answers.entries()) {
      if (answer.status === "fulfilled") values[COUNTERS[k]] = answer.value.ticket;
    }
    const [object] = answers;
    if (object.status === "fulfilled") owner(object.value);
    else left.setTrouble(failure(object.reason));
    if (run || running) return; // the run's own numbers are displayed
    left.setValue(values.object);
    right.setValue(values[shown()]);
  }

  function owner({ owner: host, epoch }) {
    owned(host, epoch);
    if (host) setText($(".foot", left.root), `Owned by ${host}${epoch ? `, epoch ${epoch}` : ""}.`);
  }

  function failure(err) {
    if (err.outcome === "unavailable") return "The owner is moving: requests are waiting, not lost.";
    if (err.outcome === "unknown") return `No answer: the claim may or may not have counted (${err.message}).`;
    return `Not executed: ${err.message}.`;
  }

  // --- reset ---

  function startReset() {
    const dialog = $("#reset-dialog");
    reset.addEventListener("click", () => {
      if (running) return;
      dialog.returnValue = ""; // Escape would leave the last answer
      dialog.showModal();
    });
    dialog.addEventListener("close", () => dialog.returnValue === "reset" && resetAll());
  }

  async function resetAll() {
    const failed = (await Promise.allSettled(COUNTERS.map((c) => counters.reset(c)))).find((r) => r.status === "rejected");
    playback.clear();
    run = null;
    values = {};
    left.showEmpty(N);
    right.showEmpty(N);
    if (failed) say("warn", `Not everything was reset: ${failed.reason.message}.`);
    else say("empty", "All counters are back at 0.", EMPTY);
    await peekAll();
  }

  // --- helpers ---

  // aria-disabled, not disabled: a disabled button would lose the focus.
  function setRunning(on) {
    running = on;
    for (const button of [claim, stress, stale, crash, reset]) button.setAttribute("aria-disabled", String(on));
    $("#race").setAttribute("aria-busy", String(on));
    setText($("#progress"), on ? "starting…" : "");
  }

  function say(tone, text, more = "") {
    $("#verdict").dataset.tone = tone;
    setText($("#verdict .main"), text);
    setText($("#verdict .more"), more);
  }

  return { setRegions: (regions) => options.setRegions(regions) };
}
