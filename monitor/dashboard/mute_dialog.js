// The dialog that mutes one signal of one agent, for a time and for a reason.

import { el, setAttr, setText, show } from "./dom.js";
import { plain } from "./format.js";

const HOUR_S = 3600;
const DURATIONS = [
  [HOUR_S, "1 hour"],
  [8 * HOUR_S, "8 hours"],
  [24 * HOUR_S, "1 day"],
  [7 * 24 * HOUR_S, "7 days"],
  [30 * 24 * HOUR_S, "30 days, the longest"],
];

/** One dialog; `open(agentId, signal)` asks. */
export class MuteDialog {
  #scope = null;

  constructor(ctx) {
    this.ctx = ctx;
    this.what = el("p", { class: "mute-what" });
    this.duration = el(
      "select",
      { id: "mute-for" },
      ...DURATIONS.map(([seconds, text]) => el("option", { value: seconds }, text)),
    );
    this.reason = el("textarea", { id: "mute-reason", rows: 2, maxlength: 2000 });
    this.problem = el("p", { class: "problem", role: "alert", hidden: true });
    this.submit = el("button", { type: "submit", class: "button solid" }, "Mute");
    const cancel = el(
      "button",
      { type: "button", class: "button", on: { click: () => this.dialog.close() } },
      "Cancel",
    );
    const form = el(
      "form",
      { novalidate: true, on: { submit: (event) => this.#send(event) } },
      el("header", { class: "dialog-head" }, el("h2", { id: "mute-title" }, "Mute")),
      el(
        "div",
        { class: "dialog-body" },
        this.problem,
        this.what,
        el(
          "p",
          { class: "fine" },
          "It hides these alerts from this list and from deliveries. It never keeps a kill back, and nothing is " +
            "lost: state:muted shows them.",
        ),
        el("p", { class: "panel-field" }, el("label", { for: "mute-for" }, "For"), this.duration),
        el("p", { class: "panel-field" }, el("label", { for: "mute-reason" }, "Reason"), this.reason),
      ),
      el("footer", { class: "dialog-foot" }, cancel, this.submit),
    );
    this.dialog = el("dialog", { class: "dialog", id: "mute", "aria-labelledby": "mute-title" }, form);
    document.body.append(this.dialog);
  }

  /** Ask for how long, and why. */
  open(agentId, signal) {
    this.#scope = { agent_id: agentId, signal };
    this.what.replaceChildren(
      "Alerts of ",
      el("code", {}, plain(agentId, 200)),
      " led by the signal ",
      el("code", {}, plain(signal, 80)),
      ".",
    );
    this.duration.value = String(8 * HOUR_S);
    this.reason.value = "";
    this.submit.disabled = false;
    this.#fail(null);
    if (!this.dialog.open) this.dialog.showModal();
    this.reason.focus();
  }

  async #send(event) {
    event.preventDefault();
    const reason = this.reason.value.trim();
    if (!reason) return this.#fail("Say why. Nothing was sent.");
    this.submit.disabled = true;
    try {
      const mute = await this.ctx.api.post("/v1/mutes", {
        ...this.#scope,
        reason,
        for_s: Number(this.duration.value),
      });
      this.dialog.close();
      this.ctx.tell(`Muted: ${plain(mute.agent_id, 80)}, ${plain(mute.signal, 60)}.`);
      this.ctx.refresh("mutes");
    } catch (error) {
      this.#fail(`Not done: ${plain(error.message)}`);
    } finally {
      this.submit.disabled = false;
    }
  }

  #fail(text) {
    show(this.problem, text !== null);
    setText(this.problem, text ?? "");
    setAttr(this.reason, "aria-invalid", text === null ? null : "true");
    if (text !== null) this.reason.focus();
  }
}
