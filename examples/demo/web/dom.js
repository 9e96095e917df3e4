// Three small helpers for building elements. Text is always set as text: nothing a peer or a server
// sends is ever parsed as markup.

export const $ = (selector, root = document) => root.querySelector(selector);

const SVG = "http://www.w3.org/2000/svg";

function fill(el, props, children) {
  for (const [key, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "text") el.textContent = value;
    else if (key.startsWith("on")) el.addEventListener(key.slice(2), value);
    else el.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children) if (child !== null && child !== undefined) el.append(child);
  return el;
}

/** An HTML element. */
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

/** An SVG element. */
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

/** Sets the text only when it differs, so that live regions speak once and layout is left alone. */
export function setText(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

/** Copies text and says so on the button for a moment. */
export async function copy(button, text) {
  const label = button.dataset.label || (button.dataset.label = button.textContent);
  let said = "Copied";
  try {
    await navigator.clipboard.writeText(text);
  } catch (_) {
    said = "Select and copy"; // no clipboard outside a secure context
  }
  button.textContent = said;
  setTimeout(() => (button.textContent = label), 1600);
}
