// What can be done with the alerts that are selected.

import { el, setText, show } from "./dom.js";
import { count } from "./format.js";

const BUTTONS = [
  ["acknowledge", "Acknowledge"],
  ["assign", "Assign …"],
  ["comment", "Comment …"],
  ["close", "Close …"],
  ["reopen", "Reopen"],
];

/** Draws the bar; `onChange(change)` is called for a button, `onClear()` and `onAll()` change the selection. */
export class BulkBar {
  constructor({ onChange, onClear, onAll }) {
    this.words = el("span", { class: "bulk-words", role: "status" });
    const button = (text, act, props = {}) => el("button", { type: "button", class: "button", ...props, on: { click: act } }, text);
    this.node = el(
      "div",
      { class: "bulk", id: "bulk", role: "group", "aria-label": "Selected alerts", hidden: true },
      this.words,
      ...BUTTONS.map(([change, text]) => button(text, () => onChange(change), { "data-change": change })),
      button("Select all shown", onAll, { class: "button quiet" }),
      button("Clear", onClear, { class: "button quiet" }),
    );
  }

  /** Show how many are selected; none hides the bar. */
  draw(n) {
    show(this.node, n > 0);
    setText(this.words, n > 0 ? `${count(n)} selected` : "");
  }
}
