// What is asked before a kill or a restoration: how, for how long, why, and, for a kill, the target's name, typed.

import { BlastRadiusBox } from "./blast_radius.js";
import { el, setAttr, setText, show } from "./dom.js";
import { plain } from "./format.js";
import { DURATIONS, LEVELS, killEffects, restoreEffects } from "./panel_words.js";
import { isTyped, kindWords, typedName } from "./targets.js";

const TEXT_MAX = 2000; // the daemon's limit

/** The form's fields: `missing()` says what is not there yet, `read()` returns what is to be sent. */
export class KillForm {
  #mode = "kill";
  #target = "";

  constructor(ctx) {
    this.ctx = ctx;
    this.radius = new BlastRadiusBox(ctx, () => this.draw());
    this.effects = el("ul", { class: "effects", id: "panel-effects" });
    this.reason = el("textarea", {
      id: "panel-reason",
      rows: 2,
      maxlength: TEXT_MAX,
      "aria-describedby": "panel-problem panel-hint",
    });
    this.typed = el("input", {
      id: "panel-typed",
      type: "text",
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      maxlength: 600,
      "aria-describedby": "panel-problem panel-hint",
      on: { input: () => this.onInput() },
    });
    this.name = el("code", { class: "typed-name" });
    this.levels = this.#levels();
    this.durations = el(
      "select",
      { id: "panel-duration", on: { change: () => this.draw() } },
      ...DURATIONS.map(({ seconds, text }) => el("option", { value: seconds }, text)),
    );
    this.forHow = el(
      "p",
      { class: "panel-field" },
      el("label", { for: "panel-duration" }, "For"),
      this.durations,
    );
    this.typing = el(
      "p",
      { class: "panel-field" },
      el("label", { for: "panel-typed" }, "Type ", this.name, " to confirm"),
      this.typed,
    );
    this.reason.addEventListener("input", () => this.onInput());
    this.onInput = () => {};
    this.node = el(
      "div",
      { id: "panel-ask" },
      this.radius.node,
      this.levels,
      this.forHow,
      el("section", {}, el("h3", {}, "What this does"), this.effects),
      el(
        "p",
        { class: "panel-field" },
        el(
          "label",
          { for: "panel-reason" },
          "Reason ",
          el(
            "span",
            { class: "must" },
            `required; kept on record under your name, ${plain(ctx.me.name, 80)}`,
          ),
        ),
        this.reason,
      ),
      this.typing,
    );
  }

  /** Ask anew, about this target. */
  open(mode, target) {
    this.#mode = mode;
    this.#target = target;
    const isKill = mode === "kill";
    this.reason.value = "";
    this.typed.value = "";
    this.levels.querySelector("input").checked = true;
    this.durations.value = String(DURATIONS[1].seconds);
    setText(this.name, typedName(target));
    setAttr(
      this.typed,
      "aria-label",
      `Type ${typedName(target)}, the name of the ${kindWords(target).toLowerCase()}`,
    );
    for (const node of [this.levels, this.typing, this.radius.node]) show(node, isKill);
    if (isKill) this.radius.open(target);
    this.draw();
  }

  /** Ask nothing more. */
  close() {
    this.radius.close();
  }

  /** Say again what it will do. */
  draw() {
    const level = this.#level();
    show(this.forHow, this.#mode === "kill" && level === "suspend");
    const effects = this.#effectsOf(level);
    if (this.effects.textContent === effects.map(({ text }) => text).join("")) return;
    this.effects.replaceChildren(
      ...effects.map(({ text, tone }) => el("li", { "data-tone": tone ?? null }, text)),
    );
  }

  /** Return what is not there yet, in words; empty when it can be sent. */
  missing() {
    const isTypedWell = this.#mode !== "kill" || isTyped(this.typed.value, this.#target);
    return [
      this.reason.value.trim() === "" && "a reason",
      !isTypedWell && `the name ${typedName(this.#target)}`,
    ].filter(Boolean);
  }

  /** Return the body that is to be sent. */
  read() {
    const body = { target: this.#target, reason: this.reason.value.trim() };
    if (this.#mode !== "kill") return body;
    body.level = this.#level();
    if (body.level === "suspend") body.expires_in_s = Number(this.durations.value);
    if (this.#target === "fleet") body.confirm = "fleet";
    return body;
  }

  #level() {
    return this.levels.querySelector("input:checked").value;
  }

  #effectsOf(level) {
    const { store } = this.ctx;
    const nowMs = Date.now();
    const record = store.revocations.get(this.#target);
    const known = { live: store.points.filter((point) => point.live).length, total: store.points.length };
    if (this.#mode === "restore") return restoreEffects({ record, points: known, nowMs });
    const points = this.radius.answer?.points ?? known;
    const durationText = this.durations.selectedOptions[0].textContent;
    return killEffects({ target: this.#target, level, points, durationText, record, nowMs });
  }

  #levels() {
    const choices = LEVELS.map(({ level, text, says }, i) =>
      el(
        "label",
        { class: "choice" },
        el("input", {
          type: "radio",
          name: "level",
          value: level,
          checked: i === 0,
          on: { change: () => this.draw() },
        }),
        el("span", {}, el("span", { class: "choice-text" }, text), el("span", { class: "fine" }, says)),
      ),
    );
    return el("fieldset", { class: "choices levels" }, el("legend", {}, "How"), ...choices);
  }
}
