// One group of alerts as a row of the list: how bad, what, who, how often, whose it is, and the ways on from there.

import { closeWords } from "./acts.js";
import { actButtons } from "./badge.js";
import { el, link, setAttr, setText, show } from "./dom.js";
import { ago, clock, count, odds, plain, plural, probability } from "./format.js";
import { isAboutTheSwitch } from "./groups.js";
import { icon } from "./icons.js";
import { responseWords, severityWords, verdictWords } from "./words.js";

const STATES = { open: "Open", acknowledged: "Acknowledged", closed: "Closed" };

/** Return what a group's state is called; a closed one says why. */
export function stateWords({ state, reason }) {
  return state === "closed" && reason ? `Closed: ${closeWords(reason)}` : (STATES[state] ?? plain(state, 20));
}

/** A row, made once and then changed only where something changed: focus and selection survive. */
export class AlertRow {
  #group = null;
  #severity = null;
  #acts = "";

  constructor(group, view) {
    this.view = view;
    this.id = group.id;
    const { alert } = group;
    this.box = el("input", { type: "checkbox", on: { change: () => view.select(this.id, this.box.checked) } });
    this.severity = this.#chip("severity", "");
    this.title = link("#/alerts", { class: "alert-title" }, plain(alert.title, 300) || verdictWords(alert.verdict));
    this.count = el("span", { class: "alert-count" });
    this.time = el("time", {});
    this.state = el("span", { class: "state" });
    this.whose = el("span", { class: "assignee" });
    this.muted = el("span", { class: "state muted-mark" }, icon("pause"), "Muted");
    this.comments = el("span", { class: "fine" });
    this.act = el("span", { class: "alert-act" });
    this.response = el("span", { class: "response" });
    const select = el("label", { class: "alert-box" }, this.box, el("span", { class: "sr" }, `Select: ${plain(alert.title, 120)}`));
    this.node = el(
      "li",
      { class: "alert", "data-alert": group.id, "data-agent": alert.agent_id },
      view.ctx.may("triage") ? select : null,
      el("div", { class: "alert-top" }, this.severity, this.title, this.count, this.time),
      el("div", { class: "alert-low" }, ...this.#facts(alert), this.state, this.muted, this.whose, this.comments),
      this.act,
    );
  }

  /** Bring the row up to date with its group. */
  draw(group, nowMs) {
    if (group !== this.#group) this.#change(group);
    setText(this.time, ago(group.last_ts, nowMs));
    this.drawAct();
  }

  /** Show the buttons that fit what is cut off now. */
  drawAct() {
    const { ctx } = this.view;
    const { alert } = this.#group;
    if (!ctx.may("kill") || isAboutTheSwitch(alert)) return;
    const cut = ctx.store.revocationOf(ctx.store.agents.get(alert.agent_id) ?? { agent_id: alert.agent_id });
    const { key, buttons } = actButtons(alert.agent_id, cut, ctx.openPanel);
    if (this.#acts === key) return;
    this.#acts = key;
    this.act.replaceChildren(...buttons());
  }

  /** Point the title at the drawer's address, which holds the filter. */
  drawLink(hash) {
    if (this.title.getAttribute("href") !== hash) this.title.href = hash;
  }

  #change(group) {
    this.#group = group;
    if (this.#severity !== group.severity) this.#drawSeverity(group.severity);
    setText(this.count, group.count > 1 ? `×${count(group.count)}` : "");
    setAttr(this.count, "title", group.count > 1 ? plural(group.count, "alert") : null);
    setAttr(this.time, "datetime", plain(group.last_ts, 40));
    setAttr(this.time, "title", `last ${clock(group.last_ts, Date.now())}, first ${clock(group.first_ts, Date.now())}`);
    setAttr(this.node, "data-state", group.state);
    setText(this.state, stateWords(group));
    setAttr(this.state, "data-state", group.state);
    show(this.muted, Boolean(group.muted_by));
    show(this.whose, Boolean(group.assignee));
    setText(this.whose, group.assignee ? `→ ${plain(group.assignee, 60)}` : "");
    setText(this.comments, group.comments > 0 ? plural(group.comments, "comment") : "");
  }

  #drawSeverity(severity) {
    this.#severity = severity;
    const { icon: name, tone, text } = severityWords(severity);
    setAttr(this.node, "data-tone", tone);
    this.severity.replaceChildren(icon(name), text);
    setAttr(this.severity, "aria-label", `${text}: show only these`);
  }

  #facts(alert) {
    const { icon: name, tone, text } = responseWords(alert.response);
    this.response.append(icon(name), text);
    setAttr(this.response, "data-tone", tone);
    const likelihood = Number.isFinite(alert.p) ? `p ${probability(alert.p)}` : "";
    return [
      this.#chip("agent", alert.agent_id),
      this.#chip("tool", alert.tool),
      el("span", { class: "fine verdict-words" }, verdictWords(alert.verdict)),
      likelihood ? el("span", { class: "fine odds", title: odds(alert.p) }, likelihood) : null,
      this.response,
    ];
  }

  // A value that limits the list to itself when it is pressed.
  #chip(key, value) {
    const press = () => this.view.limit(key, key === "severity" ? this.#severity : value);
    const shown = plain(value, 120);
    const name = shown ? `${key} ${shown}: show only these` : null;
    return el("button", { type: "button", class: `value ${key}`, "aria-label": name, title: name, on: { click: press } }, shown);
  }
}
