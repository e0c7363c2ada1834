// The dialog that `?` opens: the keys, and how a filter is written.

import { el } from "./dom.js";
import { icon } from "./icons.js";

const KEYS = [
  ["?", "this help"],
  ["/", "go to the filter"],
  ["j  k", "next, previous alert"],
  ["Enter", "open the alert"],
  ["x", "select the alert"],
  ["a", "acknowledge: the selected ones, or this one"],
  ["m", "mute this agent's signal …"],
  ["p", "pause the list, and go on"],
  ["Esc", "close, or clear the selection"],
];

const FILTERS = [
  ["agent:billing-bot", "this agent; * stands for anything: agent:billing-*"],
  ["severity:>=high", "high and critical"],
  ["tool:send_money,refund", "any of these"],
  ["human:alice@example.com", "anybody in the chain of delegation"],
  ["-verdict:drift", "not these"],
  ["state:closed", "open, acknowledged, closed or muted"],
  ["refund", "a word: in the agent, tool, title, reasons"],
];

/** The help dialog; `open()` shows it. */
export class Help {
  constructor() {
    const close = el(
      "button",
      { type: "button", class: "button quiet icon-only", "aria-label": "Close", on: { click: () => this.dialog.close() } },
      icon("cross"),
    );
    this.dialog = el(
      "dialog",
      { class: "dialog help", id: "help", "aria-labelledby": "help-title" },
      el("header", { class: "dialog-head" }, el("h2", { id: "help-title" }, "Keys and filters"), close),
      el(
        "div",
        { class: "dialog-body", tabindex: "0", role: "region", "aria-labelledby": "help-title" },
        el("h3", {}, "Keys"),
        pairs(KEYS, "kbd"),
        el("p", { class: "fine" }, "No key kills. Killing takes the agent's name, typed, and a reason."),
        el("h3", {}, "Filters"),
        pairs(FILTERS, "code"),
        el("p", { class: "fine" }, "All terms must match. Click a value in the list to add it."),
      ),
    );
    document.body.append(this.dialog);
  }

  /** Show the dialog. */
  open() {
    if (!this.dialog.open) this.dialog.showModal();
  }
}

function pairs(list, tag) {
  const rows = list.flatMap(([one, meaning]) => [
    el("dt", {}, ...one.split("  ").flatMap((key, i) => [i ? " " : "", el(tag, {}, key)])),
    el("dd", {}, meaning),
  ]);
  return el("dl", { class: "pairs" }, ...rows);
}
