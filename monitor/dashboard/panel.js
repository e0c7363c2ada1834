// The panel that kills and restores: it says who is hit, wants a reason and the name, and shows who has confirmed.

import { actButton } from "./badge.js";
import { containment, labelOf } from "./containment.js";
import { el, linkOutside, setAttr, setText, show } from "./dom.js";
import { ms, names, plain, plural } from "./format.js";
import { icon } from "./icons.js";
import { KillForm } from "./kill_form.js";
import { failureWords, heardWords, notesOf, verdictOf } from "./panel_words.js";
import { hashOf } from "./router.js";
import { TargetHistory } from "./target_history.js";
import { parted } from "./targets.js";

// Chips in the page; missing points come first, so what is left out has confirmed.
const POINTS_MAX = 150;

const MODES = {
  kill: { title: "Kill", path: "/v1/revocations", button: "Kill", busy: "Killing …" },
  restore: { title: "Restore", path: "/v1/restorations", button: "Restore", busy: "Restoring …" },
};

const POINT = { confirmed: "check", waiting: "hold", missing: "cross", silent: "cross" };

/** The one panel of the page. */
export class Panel {
  #mode = "kill";
  #target = "";
  #phase = "ask"; // ask → sending → done, or back to ask with a problem; elsewhere: it is not answered here
  #response = null;
  #expected = []; // the points that were live when it was sent
  #silent = []; // and those that were not
  #pointsAtMs = 0; // when the points' ages were told
  #transitionsBefore = 0;

  constructor(ctx) {
    this.ctx = ctx;
    this.store = ctx.store;
    this.form = new KillForm(ctx);
    this.form.onInput = () => this.#typed();
    this.history = new TargetHistory(ctx);
    this.#build();
    ctx.store.watch(["points"], () => (this.#pointsAtMs = Date.now()));
    ctx.store.watch(["acks", "revocations", "points"], () => this.dialog.open && this.#drawResult());
    ctx.store.watch(["revocations"], () => this.dialog.open && this.#drawBeside());
    ctx.store.watch(
      ["status", "points", "revocations"],
      () => this.dialog.open && this.#phase === "ask" && this.form.draw(),
    );
  }

  /** Open the panel for `mode` ("kill" or "restore") and a target such as "agent:billing-bot". */
  open(mode, target) {
    this.#mode = mode;
    this.#target = target;
    this.#phase = this.ctx.killElsewhere ? "elsewhere" : "ask";
    this.#response = null;
    setAttr(this.dialog, "data-mode", mode);
    setText(this.title, MODES[mode].title);
    setText(this.about, plain(target, 600));
    this.#problem(null);
    if (this.#phase === "ask") this.form.open(mode, target);
    this.history.open(target);
    this.#draw();
    if (!this.dialog.open) this.dialog.showModal();
    (this.#phase === "ask" ? this.form.reason : this.cancel).focus();
  }

  #build() {
    const shut = () => this.dialog.close();
    this.title = el("h2", { id: "panel-title" });
    this.about = el("p", { class: "panel-target", id: "panel-target" });
    this.problem = el("p", { class: "problem", id: "panel-problem", role: "alert", hidden: true });
    this.verdict = el("p", { class: "verdict", id: "panel-verdict", role: "status" });
    this.notes = el("ul", { class: "effects", id: "panel-notes" });
    this.points = el("ul", { class: "points", id: "panel-points", "aria-label": "Enforcement points" });
    this.result = el("div", { id: "panel-result" }, this.verdict, this.notes, this.points);
    this.elsewhere = el("p", { id: "panel-elsewhere" });
    this.hint = el("p", { class: "fine", id: "panel-hint" });
    this.beside = el("span", { id: "panel-beside" });
    this.cancel = el("button", { type: "button", class: "button", id: "panel-cancel", on: { click: shut } });
    this.submit = el("button", { type: "submit", id: "panel-submit" });
    const close = el(
      "button",
      {
        type: "button",
        class: "button quiet icon-only",
        id: "panel-close",
        "aria-label": "Close",
        on: { click: shut },
      },
      icon("cross"),
    );
    const body = el(
      "div",
      { class: "dialog-body", tabindex: "0", role: "region", "aria-labelledby": "panel-title" },
      this.form.node,
      this.problem,
      this.elsewhere,
      this.result,
      this.history.node,
    );
    const form = el(
      "form",
      {
        novalidate: true,
        on: {
          submit: (event) => this.#submit(event),
          // Enter in a one-line field would send the form: no single key may kill.
          keydown: (event) =>
            event.key === "Enter" && event.target.matches("input, select") && event.preventDefault(),
        },
      },
      el("header", { class: "dialog-head" }, this.title, close),
      this.about,
      body,
      el("footer", { class: "dialog-foot" }, this.hint, this.beside, this.cancel, this.submit),
    );
    this.dialog = el(
      "dialog",
      {
        class: "dialog panel",
        id: "panel",
        "aria-labelledby": "panel-title",
        on: { close: () => this.form.close() },
      },
      form,
    );
    document.body.append(this.dialog);
  }

  #draw() {
    const { button, busy } = MODES[this.#mode];
    const isAsking = this.#phase === "ask";
    const isSending = this.#phase === "sending";
    show(this.form.node, isAsking);
    show(this.result, isSending || this.#phase === "done");
    show(this.elsewhere, this.#phase === "elsewhere");
    show(this.hint, isAsking);
    show(this.submit, isAsking || isSending);
    this.submit.className = `button solid ${this.#mode}`;
    this.submit.replaceChildren(icon(this.#mode), isSending ? busy : button);
    setText(this.cancel, isAsking ? "Cancel" : "Close");
    if (this.#phase === "elsewhere") this.#drawElsewhere();
    this.#drawReady();
    this.#drawBeside();
    this.#drawResult();
  }

  // The button can be pressed only when everything is there; beside it stands what is not.
  #drawReady() {
    const missing = this.#phase === "ask" ? this.form.missing() : [];
    this.submit.disabled = this.#phase === "sending" || missing.length > 0;
    setText(
      this.hint,
      missing.length
        ? `Still needed: ${missing.join(" and ")}.`
        : "Nothing is sent before you press the button.",
    );
  }

  // The way back stands beside: whoever has killed the wrong one needs it now.
  #drawBeside() {
    const isCut = this.store.revocations.has(this.#target);
    const back =
      this.#phase === "done"
        ? this.#mode === (isCut ? "kill" : "restore")
        : this.#phase === "ask" && isCut && this.#mode === "kill";
    const mode = !back ? "" : isCut ? "restore" : "kill";
    if (this.beside.dataset.mode === mode) return;
    this.beside.dataset.mode = mode;
    const open = (...act) => this.open(...act);
    this.beside.replaceChildren(...(mode ? [actButton(mode, this.#target, open)] : []));
  }

  #typed() {
    this.#problem(null);
    this.#drawReady();
  }

  #drawElsewhere() {
    const { kind, value } = parted(this.#target);
    const hash = kind === "agent" ? hashOf("agents", value) : "#/fleet";
    const address = new URL(hash, this.ctx.killElsewhere).href;
    this.elsewhere.replaceChildren(
      "This daemon answers kills and restorations at an address of its own. Open it, and sign in there: ",
      linkOutside(address, { class: "name" }, plain(address, 300)),
    );
  }

  #problem(text, field = null) {
    show(this.problem, Boolean(text));
    setText(this.problem, text ?? "");
    for (const node of [this.form.reason, this.form.typed])
      setAttr(node, "aria-invalid", text && node === field ? "true" : null);
    field?.focus();
  }

  #submit(event) {
    event.preventDefault();
    if (this.#phase !== "ask") return;
    if (this.form.missing().length === 0) this.#send(this.form.read());
  }

  async #send(body) {
    const [mode, target] = [this.#mode, this.#target];
    const isShown = () => mode === this.#mode && target === this.#target && this.#phase === "sending";
    this.form.close();
    this.#phase = "sending";
    this.#expected = this.store.points.filter((point) => point.live);
    this.#silent = this.store.points.filter((point) => !point.live);
    this.#transitionsBefore = this.store.transitionCount;
    this.#problem(null);
    this.#draw();
    try {
      const response = await this.ctx.api.post(MODES[mode].path, body);
      this.#say(mode, target, response);
      if (isShown()) this.#settle("done", response);
    } catch (error) {
      this.ctx.announce(`${plain(target)}: ${failureWords(error)}`);
      const isOurs = isShown() && this.dialog.open;
      if (isShown()) this.#settle("ask", null);
      // Closed before the answer came: it must still be seen that nothing, or perhaps nothing, was done.
      if (isOurs) this.#problem(failureWords(error), error.field === "reason" ? this.form.reason : null);
      else this.ctx.tell(`${plain(target, 120)}: ${failureWords(error)}`, "bad");
    }
    this.ctx.refresh("agents", "revocations");
    this.history.fetch();
  }

  #say(mode, target, response) {
    const state = containment({ epoch: response.epoch, response, acks: new Map(), expected: [] });
    const text = `${plain(target, 120)}: ${verdictOf(mode, response, state).text}`;
    if (this.dialog.open) this.ctx.announce(text);
    else this.ctx.tell(text, verdictOf(mode, response, state).tone === "ok" ? "ok" : "bad");
  }

  #settle(phase, response) {
    this.#phase = phase;
    this.#response = response;
    this.#draw();
    if (phase === "done") this.cancel.focus();
  }

  // The feed often knows the epoch before the answer to the request is here: acknowledgements show from the first one.
  #epoch() {
    if (this.#response) return this.#response.epoch ?? null;
    const fresh = this.store.transitionCount - this.#transitionsBefore;
    const ours =
      fresh > 0 ? this.store.transitions.slice(-fresh).find(({ target }) => target === this.#target) : null;
    return ours?.epoch ?? null;
  }

  #drawResult() {
    if (!["sending", "done"].includes(this.#phase)) return;
    const response = this.#response;
    const state = containment({
      epoch: this.#epoch(),
      response,
      acks: this.store.acks,
      expected: this.#expected,
    });
    const {
      tone,
      text,
      icon: name,
    } = response
      ? verdictOf(this.#mode, response, state)
      : {
          tone: "watch",
          icon: "hold",
          text: `${MODES[this.#mode].busy} ${state.confirmed}/${state.total} confirmed`,
        };
    setAttr(this.verdict, "data-tone", tone);
    if (this.verdict.textContent !== text) this.verdict.replaceChildren(icon(name), el("span", {}, text));
    const heard = (label) => this.#heard(label);
    const notes = response ? notesOf(response, state, this.#silent.map(labelOf), heard) : [];
    this.notes.replaceChildren(
      ...notes.map(({ text: note, tone: noteTone }) => el("li", { "data-tone": noteTone ?? null }, note)),
    );
    const silent = this.#silent.map((point) => ({
      name: point.name,
      label: labelOf(point),
      state: "silent",
    }));
    this.#drawPoints([...silent, ...state.points]);
  }

  #heard(label) {
    const point = this.store.points.find((one) => labelOf(one) === label);
    return heardWords(point, Date.now() - this.#pointsAtMs);
  }

  #drawPoints(points) {
    const chips = points.slice(0, POINTS_MAX).map((point) => pointChip(point, this.#heard(point.label)));
    const rest = points.slice(POINTS_MAX).map(({ label }) => label);
    if (rest.length) chips.push(el("li", {}, `${plural(rest.length, "more point")}: ${names(rest, 3)}`));
    this.points.replaceChildren(...chips);
  }
}

function pointChip({ name, label, state, latencyMs }, heard) {
  const time = Number.isFinite(latencyMs) ? ms(latencyMs) : "confirmed";
  const words = { confirmed: time, waiting: "waiting", missing: heard, silent: heard };
  return el(
    "li",
    { "data-state": state, title: plain(label, 200) },
    icon(POINT[state]),
    el("span", { class: "point-name" }, plain(name, 120)),
    el("span", { class: "point-time" }, words[state]),
  );
}
