// Explanations of terms: shown when pointed at or focused, and put away with Escape (WCAG 1.4.13).
import { $, setText } from "./dom.js";

const MARGIN = 8;

/** Makes every element with data-tip, now on the page, explain itself. */
export function initTips() {
  const tip = $("#tip");
  let of = null;

  const hide = () => {
    of?.removeAttribute("aria-describedby");
    of = null;
    tip.hidden = true;
  };
  const show = (el) => {
    hide();
    of = el;
    setText(tip, el.dataset.tip);
    tip.hidden = false;
    el.setAttribute("aria-describedby", "tip");
    place();
  };
  const place = () => {
    if (!of) return;
    const [a, t] = [of.getBoundingClientRect(), tip.getBoundingClientRect()];
    const below = a.bottom + MARGIN + t.height < innerHeight;
    tip.style.left = `${Math.max(MARGIN, Math.min(a.left, innerWidth - t.width - MARGIN))}px`;
    tip.style.top = `${below ? a.bottom + 4 : a.top - t.height - 4}px`;
  };

  for (const el of document.querySelectorAll("[data-tip]")) {
    el.tabIndex = 0;
    el.addEventListener("pointerenter", () => show(el));
    el.addEventListener("focus", () => show(el));
    el.addEventListener("click", () => show(el));
    el.addEventListener("blur", hide);
    el.addEventListener("pointerleave", (e) => e.relatedTarget !== tip && hide());
  }
  tip.addEventListener("pointerleave", hide);
  addEventListener("keydown", (e) => e.key === "Escape" && hide());
  addEventListener("scroll", place, { passive: true }); // a focus from the keyboard scrolls
}
