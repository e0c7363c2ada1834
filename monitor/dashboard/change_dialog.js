// The dialog for changes that need words: to whom, what, and why an alert is closed.

import { CLOSE_REASONS } from "./acts.js";
import { el, setAttr, setText, show } from "./dom.js";
import { plain, plural } from "./format.js";

const TITLES = { assign: "Assign", comment: "Comment", close: "Close" };
const TEXT_MAX = 2000; // the daemon's limit

/** One dialog for assign, comment and close; `open` it with the ids of the groups. */
export class ChangeDialog {
  #ids = [];
  #change = "comment";

  constructor(ctx, acts) {
    this.ctx = ctx;
    this.acts = acts;
    this.title = el("h2", { id: "change-title" });
    this.about = el("p", { class: "fine" });
    this.assignee = el("input", { id: "change-assignee", type: "text", maxlength: 200, autocomplete: "off", spellcheck: "false" });
    this.comment = el("textarea", { id: "change-comment", rows: 3, maxlength: TEXT_MAX });
    this.optional = el("span", { class: "must" });
    this.problem = el("p", { class: "problem", id: "change-problem", role: "alert", hidden: true });
    this.submit = el("button", { type: "submit", class: "button solid" });
    this.whom = el("div", {}, el("label", { for: "change-assignee" }, "To"), this.assignee, this.#shortcuts());
    this.reasons = reasonChoices();
    this.dialog = this.#dialog();
    document.body.append(this.dialog);
  }

  /** Ask for what `change` needs, for these groups. */
  open(change, ids, { assignee = null } = {}) {
    this.#ids = ids;
    this.#change = change;
    setText(this.title, TITLES[change]);
    setText(this.about, plural(ids.length, "alert"));
    setText(this.submit, TITLES[change]);
    setText(this.optional, change === "comment" ? "" : "optional");
    show(this.whom, change === "assign");
    show(this.reasons, change === "close");
    this.assignee.value = assignee ?? "";
    this.comment.value = "";
    this.submit.disabled = false;
    for (const input of this.reasons.querySelectorAll("input")) input.checked = false;
    this.#fail(null);
    if (!this.dialog.open) this.dialog.showModal();
    const first = { assign: this.assignee, comment: this.comment, close: this.reasons.querySelector("input") };
    first[change].focus();
  }

  #dialog() {
    const cancel = el("button", { type: "button", class: "button", on: { click: () => this.dialog.close() } }, "Cancel");
    const form = el(
      "form",
      { novalidate: true, on: { submit: (event) => this.#send(event) } },
      el("header", { class: "dialog-head" }, this.title, this.about),
      el(
        "div",
        { class: "dialog-body" },
        this.problem,
        this.whom,
        this.reasons,
        el("div", {}, el("label", { for: "change-comment" }, "Comment ", this.optional), this.comment),
      ),
      el("footer", { class: "dialog-foot" }, cancel, this.submit),
    );
    return el("dialog", { class: "dialog", id: "change", "aria-labelledby": "change-title" }, form);
  }

  #shortcuts() {
    const set = (name) => () => {
      this.assignee.value = name;
      this.assignee.focus();
    };
    const { name } = this.ctx.me;
    return el(
      "p",
      { class: "shortcuts" },
      el("button", { type: "button", class: "button", on: { click: set(name) } }, `Me (${plain(name, 60)})`),
      el("button", { type: "button", class: "button", on: { click: set("") } }, "Nobody"),
    );
  }

  async #send(event) {
    event.preventDefault();
    const fields = this.#fields();
    if (fields === null) return;
    this.submit.disabled = true;
    const failure = await this.acts.change(this.#ids, this.#change, fields);
    this.submit.disabled = false;
    // What nobody took stays here, with every word that was typed.
    if (failure === null) this.dialog.close();
    else this.#fail(failure.text, failure.field);
  }

  // What is sent, or null after saying what is missing.
  #fields() {
    const comment = this.comment.value.trim();
    const fields = comment ? { comment } : {};
    if (this.#change === "assign") fields.assignee = this.assignee.value.trim() || null;
    if (this.#change === "close") {
      fields.reason = this.reasons.querySelector("input:checked")?.value;
      if (!fields.reason) return this.#fail("Say what it was. Nothing was sent.", "reason");
    }
    if (this.#change === "comment" && !comment) return this.#fail("Write something. Nothing was sent.", "comment");
    return fields;
  }

  #fail(text, field = null) {
    show(this.problem, text !== null);
    setText(this.problem, text ?? "");
    const fields = { comment: this.comment, assignee: this.assignee };
    for (const [name, node] of Object.entries(fields))
      setAttr(node, "aria-invalid", text !== null && name === field ? "true" : null);
    fields[field]?.focus();
    return null;
  }
}

function reasonChoices() {
  const choices = CLOSE_REASONS.map(({ reason, text, teaches }) =>
    el(
      "label",
      { class: "choice" },
      el("input", { type: "radio", name: "reason", value: reason }),
      el("span", {}, el("span", { class: "choice-text" }, text), el("span", { class: "fine" }, teaches)),
    ),
  );
  return el("fieldset", { class: "choices" }, el("legend", {}, "What was it?"), ...choices);
}
