// Theme and motion: what the system says, unless the visitor said otherwise on this page.
import { $, setText } from "./dom.js";

const root = document.documentElement;
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const systemReduced = matchMedia("(prefers-reduced-motion: reduce)");

function remember(key, value) {
  try {
    if (value) localStorage.setItem(key, value);
    else localStorage.removeItem(key);
  } catch (_) {
    // Not remembered; the choice still holds for this page.
  }
}

const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);

/** Nothing may move: the visitor pressed "Pause motion". */
export const motionPaused = () => root.dataset.motion === "paused";

/** Motion is to be replaced by steps or by its last picture. */
export const motionReduced = () => motionPaused() || systemReduced.matches;

const listeners = new Set();

/** Calls back after every change of motion. */
export function onMotionChange(fn) {
  listeners.add(fn);
}

function tellMotion() {
  for (const fn of listeners) fn();
}

function initTheme() {
  const button = $("#theme");
  const show = () => {
    const next = isDark() ? "light" : "dark";
    button.setAttribute("aria-label", `Use the ${next} theme`);
    button.title = `Use the ${next} theme`;
    button.dataset.now = isDark() ? "dark" : "light";
  };
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    // Choosing what the system has anyway means following it again.
    const follows = (next === "dark") === systemDark.matches;
    if (follows) delete root.dataset.theme;
    else root.dataset.theme = next;
    remember("holdfast.theme", follows ? "" : next);
    show();
  });
  systemDark.addEventListener("change", show);
  show();
}

function initMotion() {
  const button = $("#motion");
  const show = () => {
    const label = motionPaused() ? "Resume motion" : "Pause motion";
    setText($(".label", button), label);
    button.title = label;
    button.dataset.paused = motionPaused();
  };
  button.addEventListener("click", () => {
    if (motionPaused()) delete root.dataset.motion;
    else root.dataset.motion = "paused";
    remember("holdfast.motion", motionPaused() ? "paused" : "");
    show();
    tellMotion();
  });
  systemReduced.addEventListener("change", tellMotion);
  show();
}

export function initLook() {
  initTheme();
  initMotion();
}
