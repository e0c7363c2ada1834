// The panel that kills and restores: it says what will happen, wants a reason, and shows who has confirmed.

import { act } from "./api.js";
import { containment } from "./containment.js";
import { byId, el, setAttr, setText, show } from "./dom.js";
import { ms, names, plain, plural } from "./format.js";
import { icon } from "./icons.js";
import { effectsOf, failureWords, notesOf, verdictOf } from "./panel_words.js";
import { operator, rememberOperator } from "./session.js";

// Chips in the page; missing points come first, so what is left out has confirmed.
const POINTS_MAX = 150;

const MODES = {
  kill: {
    title: "Kill",
    path: "/v1/revocations",
    button: "Kill",
    busy: "Killing …",
    extra: { level: "revoke" },
  },
  restore: { title: "Restore", path: "/v1/restorations", button: "Restore", busy: "Restoring …", extra: {} },
};

const POINT = { confirmed: "check", waiting: "hold", missing: "cross" };

/** The one panel of the page. `onDone()` is called after the daemon answered. */
export class Panel {
  #mode = "kill";
  #target = "";
  #phase = "ask"; // ask → sending → done, or back to ask with a problem
  #response = null;
  #expected = [];
  #transitionsBefore = 0;

  constructor(store, onDone) {
    this.store = store;
    this.onDone = onDone;
    this.dialog = byId("panel");
    byId("panel-close").append(icon("cross"));
    for (const id of ["panel-close", "panel-cancel"])
      byId(id).addEventListener("click", () => this.dialog.close());
    byId("panel-form").addEventListener("submit", (event) => this.#submit(event));
    // Enter in a one-line field would send the form: no single key may kill.
    byId("panel-by").addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
    byId("panel-reason").addEventListener("input", () => this.#problem(null));
    store.watch(["acks", "revocations"], () => this.#drawResult());
    store.watch(["status", "points"], () => this.#drawEffects());
  }

  /** Open the panel for `mode` ("kill" or "restore") and a target such as "agent:billing-bot". */
  open(mode, target) {
    this.#mode = mode;
    this.#target = target;
    this.#phase = "ask";
    this.#response = null;
    setAttr(this.dialog, "data-mode", mode);
    setText(byId("panel-title"), MODES[mode].title);
    setText(byId("panel-target"), plain(target, 600));
    byId("panel-reason").value = "";
    byId("panel-by").value = operator();
    this.#problem(null);
    this.#draw();
    if (!this.dialog.open) this.dialog.showModal();
    byId("panel-reason").focus();
  }

  #draw() {
    const { button, busy } = MODES[this.#mode];
    const isAsking = this.#phase === "ask";
    const submit = byId("panel-submit");
    show(byId("panel-ask"), isAsking);
    show(byId("panel-result"), !isAsking);
    show(byId("panel-hint"), isAsking);
    show(submit, this.#phase !== "done");
    submit.disabled = this.#phase === "sending";
    submit.className = `button solid ${this.#mode}`;
    submit.replaceChildren(icon(this.#mode), this.#phase === "sending" ? busy : button);
    setText(byId("panel-cancel"), isAsking ? "Cancel" : "Close");
    this.#drawEffects();
    this.#drawResult();
  }

  #drawEffects() {
    if (this.#phase !== "ask") return;
    const effects = effectsOf(this.#mode, this.#target, this.store, Date.now());
    const list = byId("panel-effects");
    if (list.textContent === effects.map(({ text }) => text).join("")) return;
    list.replaceChildren(...effects.map(({ text, tone }) => el("li", { "data-tone": tone ?? null }, text)));
  }

  #problem(text, field = null) {
    const node = byId("panel-problem");
    show(node, Boolean(text));
    setText(node, text ?? "");
    for (const name of ["reason", "by"])
      setAttr(byId(`panel-${name}`), "aria-invalid", text && field === name ? "true" : null);
    if (field) byId(`panel-${field}`).focus();
  }

  async #submit(event) {
    event.preventDefault();
    if (this.#phase !== "ask") return;
    const reason = byId("panel-reason").value.trim();
    const by = byId("panel-by").value.trim();
    if (!reason)
      return this.#problem("Say why: whoever looks at this tomorrow needs it. Nothing was sent.", "reason");
    if (!by) return this.#problem("Say who you are: it goes into the record. Nothing was sent.", "by");
    rememberOperator(by);
    await this.#send(reason);
  }

  async #send(reason) {
    const { path, extra } = MODES[this.#mode];
    const [mode, target] = [this.#mode, this.#target];
    const isShown = () =>
      this.dialog.open && mode === this.#mode && target === this.#target && this.#phase === "sending";
    this.#phase = "sending";
    this.#expected = this.store.points.filter((point) => point.live);
    this.#transitionsBefore = this.store.transitionCount;
    this.#problem(null);
    this.#draw();
    try {
      const response = await act(path, { target, reason, ...extra });
      setText(
        byId("announce"),
        `${plain(target)}: ${verdictOf(mode, response, containment({ epoch: response.epoch, response, acks: new Map(), expected: [] })).text}`,
      );
      if (isShown()) this.#settle("done", response);
    } catch (error) {
      setText(byId("announce"), `${plain(target)}: ${failureWords(error)}`);
      if (isShown()) this.#settle("ask", null);
      if (isShown() || (this.#mode === mode && this.#target === target))
        this.#problem(failureWords(error), { reason: "reason", by: "by" }[error.field] ?? null);
    }
    this.onDone();
  }

  #settle(phase, response) {
    this.#phase = phase;
    this.#response = response;
    this.#draw();
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
    if (this.#phase === "ask") return;
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
    const verdict = byId("panel-verdict");
    setAttr(verdict, "data-tone", tone);
    if (verdict.textContent !== text) verdict.replaceChildren(icon(name), el("span", {}, text));
    const notes = response ? notesOf(response, state) : [];
    byId("panel-notes").replaceChildren(
      ...notes.map(({ text: note, tone: noteTone }) => el("li", { "data-tone": noteTone ?? null }, note)),
    );
    this.#drawPoints(state.points);
  }

  #drawPoints(points) {
    const chips = points
      .slice(0, POINTS_MAX)
      .map(({ name, label, state, latencyMs }) =>
        el(
          "li",
          { "data-state": state, title: plain(label, 200) },
          icon(POINT[state]),
          el("span", { class: "point-name" }, plain(name, 120)),
          el(
            "span",
            { class: "point-time" },
            state === "confirmed" && Number.isFinite(latencyMs)
              ? ms(latencyMs)
              : state === "confirmed"
                ? ""
                : state,
          ),
        ),
      );
    const rest = points.slice(POINTS_MAX).map(({ label }) => label);
    if (rest.length) chips.push(el("li", {}, `${plural(rest.length, "more point")}: ${names(rest, 3)}`));
    byId("panel-points").replaceChildren(...chips);
  }
}
