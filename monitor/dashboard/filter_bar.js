// The line above the alerts: the filter as text and as chips, the states, and the pause.

import { el, setAttr, setText, show } from "./dom.js";
import { count, plain } from "./format.js";
import { icon } from "./icons.js";
import { STATE_CHOICES, stateChoice, termsOf, withState, withoutTerm } from "./filter_terms.js";

const SETTLE_MS = 500; // after the last key, before the daemon is asked

/** Draws the filter; `onFilter(text, isFinal)` is called with what the person wants, `onPause()` when they press it. */
export class FilterBar {
  #timer = 0;
  #text = "";

  constructor({ onFilter, onPause }) {
    this.onFilter = onFilter;
    this.field = el("input", {
      type: "search", id: "alerts-find", autocomplete: "off", spellcheck: "false", maxlength: 2000,
      "aria-label": "Filter alerts", "aria-describedby": "alerts-problem",
      placeholder: "agent:billing-* severity:>=high …",
      on: { input: () => this.#typed(), keydown: (event) => event.key === "Enter" && this.#settle() },
    });
    this.pause = el(
      "button",
      { type: "button", class: "button", id: "alerts-pause", "aria-pressed": "false", on: { click: onPause } },
      icon("pause"),
      el("span", {}, "Pause"),
    );
    this.states = STATE_CHOICES.map((choice) =>
      el(
        "button",
        { type: "button", class: "state-choice", "data-term": choice.term, on: { click: () => this.#state(choice) } },
        choice.text,
      ),
    );
    this.chips = el("ul", { class: "chips", "aria-label": "Filters in force" });
    this.problem = el("p", { class: "problem", id: "alerts-problem", role: "alert", hidden: true });
    this.node = el(
      "div",
      { class: "alerts-bar", role: "search", "aria-label": "Alerts" },
      el("div", { class: "alerts-find" }, this.field, this.pause),
      el("div", { class: "state-choices", role: "group", "aria-label": "States" }, ...this.states),
      this.chips,
      this.problem,
    );
  }

  /** Show the filter in force and what the daemon finds wrong with it. */
  draw(text, problem) {
    this.#text = text;
    if (document.activeElement !== this.field && this.field.value !== text) this.field.value = text;
    const chosen = stateChoice(text);
    for (const button of this.states) setAttr(button, "aria-pressed", String(button.dataset.term === chosen?.term));
    show(this.problem, problem !== null);
    setText(this.problem, problem === null ? "" : `This filter cannot be read: ${plain(problem)}`);
    setAttr(this.field, "aria-invalid", problem === null ? null : "true");
    this.#drawChips(termsOf(text));
  }

  /** Show whether the list is paused, and how many alerts wait. */
  drawPause(isPaused, waiting) {
    setAttr(this.pause, "aria-pressed", String(isPaused));
    setText(this.pause.lastElementChild, isPaused ? `Paused: ${count(waiting)} new` : "Pause");
  }

  #drawChips(terms) {
    const key = terms.join("\n");
    if (this.chips.dataset.terms === key) return;
    this.chips.dataset.terms = key;
    show(this.chips, terms.length > 0);
    this.chips.replaceChildren(...terms.map((term) => el("li", {}, this.#chip(term))));
  }

  #chip(term) {
    const shown = plain(term, 80);
    const remove = () => this.#want(withoutTerm(this.#text, term));
    const props = { type: "button", class: "chip", "aria-label": `Remove the filter ${shown}`, on: { click: remove } };
    return el("button", props, el("span", {}, shown), icon("cross"));
  }

  #state(choice) {
    this.#want(withState(this.#text, choice.term));
  }

  #want(text) {
    clearTimeout(this.#timer);
    this.field.value = text;
    this.onFilter(text);
  }

  #typed() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#settle(), SETTLE_MS);
  }

  #settle() {
    clearTimeout(this.#timer);
    this.onFilter(this.field.value.trim());
  }
}
