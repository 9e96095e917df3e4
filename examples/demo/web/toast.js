// One line at the bottom of the page for what the visitor should know and need not act on.
import { $, setText } from "./dom.js";

let timer = 0;

/** Shows a sentence, for `ms` if given, else until hideToast. */
export function toast(text, ms) {
  clearTimeout(timer);
  setText($("#toast-text"), text);
  $("#toast").dataset.shown = true;
  if (ms) timer = setTimeout(hideToast, ms);
}

export function hideToast() {
  clearTimeout(timer);
  $("#toast").dataset.shown = false;
  setText($("#toast-text"), "");
}
