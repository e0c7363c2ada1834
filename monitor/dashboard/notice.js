// What came of what somebody just did: said at the foot of the page for a while, and to a screen reader.

import { byId, setAttr, setText, show } from "./dom.js";

const SHOWN_MS = 8_000;
let timer = 0;

/** Say it. `tone`: "ok" or "bad". */
export function tell(text, tone = "ok") {
  const node = byId("notice");
  setAttr(node, "data-tone", tone);
  setText(node, text);
  show(node, true);
  clearTimeout(timer);
  timer = setTimeout(() => show(node, false), SHOWN_MS);
  announce(text);
}

/** Tell a screen reader; the same words twice are said twice. */
export function announce(text) {
  const node = byId("announce");
  setText(node, node.textContent === text ? `${text}\u00a0` : text);
}
