// Plays a run of a few dozen milliseconds back so slowly that an eye can follow it.
import { $, setText } from "./dom.js";
import { motionReduced } from "./theme.js";

const LASTS = 3000;
const EVERY = 30; // ms from one picture to the next at least: each paints both charts anew

/** Returns by which factor a run is slowed down; no DOM. */
export function sayPace(maxUs) {
  const slower = Math.round((LASTS * 1000) / maxUs);
  return slower > 1 ? `${slower}× slower` : "as it was";
}

/** A time of a run; no DOM. */
export const sayTook = (us) => (us < 1e6 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1e6).toFixed(1)} s`);

export class Playback {
  /** on(us, over) draws one moment. */
  constructor(on) {
    this.on = on;
    this.maxUs = 0;
    this.us = 0;
    this.events = [];
    this.frame = 0;
    this.bar = $("#playback");
    this.button = $("#play");
    this.scrub = $("#scrub");
    this.button.addEventListener("click", () => (this.frame ? this.pause() : this.play()));
    this.scrub.addEventListener("input", () => {
      this.pause();
      this.show((this.scrub.value / 1000) * this.maxUs);
    });
    $("#step-back").addEventListener("click", () => this.step(-1));
    $("#step-on").addEventListener("click", () => this.step(1));
  }

  /**
   * A new run: events are the moments at which something happens, for the step buttons.
   * Without replay, or with reduced motion, the last picture is shown at once.
   */
  load(maxUs, events, replay) {
    this.pause();
    this.maxUs = maxUs;
    this.events = [...new Set(events.filter((e) => e > 0))].sort((a, b) => a - b);
    this.bar.hidden = false;
    if (!replay || motionReduced()) this.show(maxUs);
    else this.play(0);
  }

  clear() {
    this.pause();
    this.bar.hidden = true;
    this.maxUs = 0;
  }

  play(from = this.us >= this.maxUs ? 0 : this.us) {
    this.pause();
    let last;
    this.us = from;
    const tick = (now) => {
      this.frame = requestAnimationFrame(tick);
      if (last !== undefined && now - last < EVERY) return;
      const us = this.us + ((now - (last ?? now)) / Math.max(LASTS, this.maxUs / 1000)) * this.maxUs;
      last = now;
      if (us < this.maxUs) return this.show(us);
      this.pause();
      this.show(this.maxUs);
    };
    this.frame = requestAnimationFrame(tick);
    this.#label();
  }

  pause() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.#label();
  }

  /** To the next or the previous moment at which something happens. */
  step(by) {
    this.pause();
    const next = by > 0 ? this.events.find((e) => e > this.us + 0.5) : this.events.findLast((e) => e < this.us - 0.5);
    this.show(next ?? (by > 0 ? this.maxUs : 0));
  }

  show(us) {
    this.us = us;
    this.scrub.value = String(Math.round((us / this.maxUs) * 1000));
    this.scrub.style.setProperty("--at", `${this.scrub.value / 10}%`);
    const text = this.maxUs < 1e6 ? `${(us / 1000).toFixed(1)} of ${sayTook(this.maxUs)}` : `${(us / 1e6).toFixed(1)} of ${sayTook(this.maxUs)}`;
    this.scrub.setAttribute("aria-valuetext", text);
    setText($("#play-time"), text);
    setText($("#play-speed"), sayPace(this.maxUs));
    this.on(us, us >= this.maxUs);
  }

  #label() {
    const playing = this.frame !== 0;
    this.button.setAttribute("aria-label", playing ? "Pause the replay" : "Play the replay");
    this.button.dataset.playing = playing;
  }
}
