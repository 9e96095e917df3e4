// The connection pill: always a shape, a colour and words, so that no one of the three has to be seen.
import { $, setText } from "./dom.js";

const ms = (v) => (v < 10 ? `${v.toFixed(v < 1 ? 1 : 0)} ms` : `${Math.round(v)} ms`);

export function median(values) {
  if (!values.length) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

/**
 * What the pill says for what is known; no DOM.
 * known: {phase, attempt, retryIn, online, silent, moved: {from, to}, rtt, region, ownerRegion, owner, epoch, reason}
 * Returns {state, text, detail, title, action, spoken}: `spoken` changes only when a listener should hear it.
 */
export function describe(known) {
  const { phase, region, ownerRegion } = known;
  if (phase === "refused") {
    return { state: "refused", text: `Can't join. ${known.reason}`, action: "Try again", spoken: `Can't join. ${known.reason}` };
  }
  if (phase !== "open" && known.online === false) {
    return { state: "offline", text: "Offline. Will resume when you're back", spoken: "You are offline." };
  }
  if (phase === "connecting" && !known.attempt) {
    return { state: "connecting", text: "Connecting…", spoken: "" };
  }
  if (phase !== "open") return reconnecting(known);
  const detail = [known.epoch ? `epoch ${known.epoch}` : "", known.owner].filter(Boolean).join(" · ");
  if (known.moved) {
    const text = `Owner moved… epoch ${known.moved.from} → ${known.moved.to}`;
    return { state: "moving", text, detail: known.owner, spoken: `The owner moved. Epoch ${known.moved.to}.` };
  }
  if (known.silent) {
    return { state: "moving", text: "Waiting for the owner…", detail, spoken: "Waiting for the owner." };
  }
  const time = known.rtt === undefined ? "" : ` · ${ms(known.rtt)}`;
  if (ownerRegion && region && ownerRegion !== region) {
    return {
      state: "forwarding",
      text: `Live${time} · ${region} → ${ownerRegion}`,
      detail,
      title: `Objects live in one place. Yours is in ${ownerRegion}; your gateway in ${region} forwards to it.`,
      spoken: `Live, from ${region} to the owner in ${ownerRegion}.`,
    };
  }
  return {
    state: "live",
    text: `Live${time}${region ? ` · ${region}` : ""}`,
    detail,
    title: ownerRegion ? `This room's one owner is here in ${ownerRegion}.` : "",
    spoken: `Live${region ? ` in ${region}` : ""}.`,
  };
}

function reconnecting(known) {
  const count = known.attempt > 1 ? ` (${known.attempt})` : "";
  const waiting = known.phase === "waiting";
  const left = Math.max(0, known.retryIn || 0) / 1000;
  const when = waiting && left >= 0.1 ? `: next try in ${left.toFixed(1)} s` : "…";
  const text = `Reconnecting${count}${when}`;
  return { state: "reconnecting", text, detail: known.reason, action: waiting ? "Retry now" : "", spoken: "Reconnecting." };
}

/** Puts descriptions on the page; `onAction` is the button inside. */
export function mountPill(onAction) {
  const pill = $("#pill");
  const [text, detail, button] = [$(".pill-text", pill), $(".pill-detail", pill), $("button", pill)];
  const spoken = $("#pill-spoken");
  button.addEventListener("click", onAction);
  return (known) => {
    const d = describe(known);
    pill.dataset.state = d.state;
    pill.title = d.title || "";
    setText(text, d.text);
    setText(detail, d.detail || "");
    // The words stay on a hidden button, so that it keeps its focus while a retry is under way.
    if (d.action) setText(button, d.action);
    button.hidden = !d.action;
    // The round trip changes all the time; a listener hears only changes of state.
    if (d.spoken) setText(spoken, d.spoken);
  };
}
