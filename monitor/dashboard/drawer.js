// The drawer: everything about one group of alerts, beside the list, at an address of its own.

import { changesOf } from "./acts.js";
import { el, link, place, setAttr, setText, show } from "./dom.js";
import { clock, plain, plural } from "./format.js";
import { chainPart, evidencePart, factsPart, historyPart, precedentsPart, responsePart, whyPart } from "./drawer_parts.js";
import { canBeMuted, isAboutTheSwitch, signalOf } from "./groups.js";
import { icon } from "./icons.js";
import { actButtons } from "./badge.js";
import { Polling } from "./polling.js";
import { RawJson } from "./raw_json.js";
import { hashOf } from "./router.js";
import { stateWords } from "./alert_row.js";
import { severityWords } from "./words.js";

const EVERY_MS = 5_000; // a group that the list's filter leaves out changes without the list knowing
const ACTIONS = 100;

const CHANGES = {
  acknowledge: "Acknowledge",
  assign: "Assign …",
  comment: "Comment …",
  close: "Close …",
  reopen: "Reopen",
};

/** Draws `GET /v1/alerts/ID`; `list` is the view that it belongs to. */
export class Drawer {
  /** The group that is shown, as the daemon's last answer has it, or null. */
  group = null;

  #id = null;
  #alertId = null; // which of the group's alerts
  #parts = new Map(); // name → {node, text}
  #actions = { key: "", list: null };

  constructor(ctx, list) {
    this.ctx = ctx;
    this.list = list;
    this.polling = new Polling(() => this.#fetch(), EVERY_MS, (error) => this.#failed(error));
    this.raw = new RawJson(ctx);
    this.#build();
    ctx.store.watch(["alerts"], () => this.#compare());
    ctx.store.watch(["agents", "revocations", "mutes"], () => this.group && this.#drawControls());
  }

  /** Show the group of this alert. */
  open(id) {
    if (id === this.#id) return;
    this.#id = id;
    this.#alertId = null;
    this.group = null;
    this.#actions = { key: "", list: null };
    show(this.node, true);
    show(this.problem, false);
    show(this.content, false);
    this.#clear();
    setText(this.title, "Loading …");
    this.title.focus({ preventScroll: true });
    this.polling.start();
  }

  /** Show nothing. */
  close() {
    this.#id = null;
    this.group = null;
    this.polling.stop();
    show(this.node, false);
  }

  /** Ask the daemon again, now. */
  refetch() {
    if (this.#id !== null) this.polling.now();
  }

  #build() {
    const close = () => this.list.closeDrawer();
    this.severity = el("span", { class: "severity" });
    this.title = el("h2", { id: "drawer-title", tabindex: "-1" });
    this.about = el("p", { class: "drawer-about" });
    this.controls = el("div", { class: "drawer-controls", role: "group", "aria-label": "What to do" });
    this.problem = el("p", { class: "problem", role: "alert", hidden: true });
    this.content = el("div", { class: "drawer-content" });
    this.older = this.#step("Older", 1);
    this.newer = this.#step("Newer", -1);
    this.which = el("span", { class: "fine" });
    this.steps = el("p", { class: "drawer-steps" }, this.newer, this.which, this.older);
    for (const name of ["why", "facts", "response", "chain", "evidence", "history", "precedents"])
      this.#parts.set(name, { node: el("section", { class: `part part-${name}` }), text: "" });
    this.node = el(
      "aside",
      { class: "drawer", id: "drawer", "aria-labelledby": "drawer-title", hidden: true },
      el(
        "header",
        { class: "drawer-head" },
        this.severity,
        el("span", { class: "grow" }),
        el("button", { type: "button", class: "button quiet icon-only", id: "drawer-close", "aria-label": "Close", title: "Close (Esc)", on: { click: close } }, icon("cross")),
      ),
      el("div", { class: "drawer-scroll", tabindex: "0", role: "region", "aria-labelledby": "drawer-title" }, this.title, this.about, this.problem, this.content),
    );
    const parts = [...this.#parts.values()].map(({ node }) => node);
    this.content.append(this.controls, this.steps, ...parts, this.raw.node);
  }

  #step(text, by) {
    const act = () => {
      const at = this.group.alerts.findIndex(({ id }) => id === this.#alert().id);
      this.#alertId = this.group.alerts[at + by]?.id ?? this.#alertId;
      this.#draw();
    };
    return el("button", { type: "button", class: "button", on: { click: act } }, text);
  }

  // Nothing of the alert before may stand under the title of this one.
  #clear() {
    for (const part of this.#parts.values()) part.text = "";
    setText(this.about, "");
    this.severity.replaceChildren();
    this.raw.clear();
  }

  async #fetch() {
    const id = this.#id;
    if (id === null) return;
    const group = await this.ctx.api.get(`/v1/alerts/${encodeURIComponent(id)}`);
    if (id !== this.#id) return;
    const isFirst = this.group === null;
    this.group = group;
    if (isFirst && group.alerts.some((alert) => alert.id === id && id !== group.id)) this.#alertId = id;
    show(this.problem, false);
    this.#draw();
    if (isFirst) this.ctx.announce(`${severityWords(group.severity).text}: ${plain(group.alert.title)}`);
  }

  #failed(error) {
    if (this.group === null) setText(this.title, error.status === 404 ? "Not here any more" : "Not loaded");
    setText(this.problem, error.status === 404 ? plain(error.message) : `This may be old: ${plain(error.message)}.`);
    show(this.problem, true);
  }

  // The list has heard of a change: what stands here is old.
  #compare() {
    const held = this.ctx.store.groups.get(this.group?.id);
    if (!held) return;
    const { count, changed_at: at, muted_by: mutedBy } = this.group;
    if (held.count > count || (held.changed_at ?? 0) > (at ?? 0) || held.muted_by !== mutedBy) this.polling.now();
  }

  #alert() {
    const { alerts, alert } = this.group;
    return alerts.find(({ id }) => id === this.#alertId) ?? alerts[0] ?? alert;
  }

  #draw() {
    const { group } = this;
    const alert = this.#alert();
    const { icon: name, tone, text } = severityWords(group.severity);
    setAttr(this.node, "data-tone", tone);
    if (this.severity.textContent !== text) this.severity.replaceChildren(icon(name), text);
    setText(this.title, plain(alert.title));
    this.#drawAbout(group, alert);
    this.#drawSteps(alert);
    this.#part("why", [alert.id, alert.reasons], () => whyPart(alert));
    this.#part("facts", alert, () => factsPart(alert, this.list));
    this.#part("response", alert.response, () => responsePart(alert.response));
    this.#part("chain", alert, () => chainPart(alert, this.list));
    this.#part("history", [group.history, group.first_ts, group.count], () => historyPart(group, Date.now()));
    this.#part("precedents", group.precedents, () => precedentsPart(group, this.list));
    this.#drawEvidence(alert);
    this.raw.draw(group);
    this.#drawControls();
    show(this.content, true);
  }

  #drawAbout(group, alert) {
    const nowMs = Date.now();
    const mute = group.muted_by ? this.ctx.store.mutes.get(group.muted_by) : null;
    const words = [
      stateWords(group),
      group.assignee ? `assigned to ${plain(group.assignee, 80)}` : "assigned to nobody",
      group.muted_by && (mute ? `muted until ${clock(mute.until, nowMs)}` : "muted"),
      group.count > 1
        ? `${plural(group.count, "alert")} from ${clock(group.first_ts, nowMs)} to ${clock(group.last_ts, nowMs)}`
        : clock(group.last_ts, nowMs),
    ].filter(Boolean);
    this.about.replaceChildren(
      link(hashOf("agents", alert.agent_id), { class: "name" }, plain(alert.agent_id, 120)),
      ` · ${words.join(" · ")}`,
    );
  }

  #drawSteps(alert) {
    const { alerts, count } = this.group;
    const at = alerts.findIndex(({ id }) => id === alert.id);
    show(this.steps, alerts.length > 1);
    setText(this.which, `alert ${count - at} of ${count}`);
    this.newer.disabled = at <= 0;
    this.older.disabled = at >= alerts.length - 1;
  }

  #part(name, content, make) {
    const part = this.#parts.get(name);
    const text = JSON.stringify(content);
    if (part.text === text) return;
    part.text = text;
    part.node.replaceChildren(...make());
    show(part.node, part.node.childElementCount > 0);
  }

  #drawControls() {
    const { ctx, group } = this;
    const buttons = [];
    if (ctx.may("triage")) {
      for (const change of changesOf(group.state)) buttons.push(this.#change(change));
      if (canBeMuted(group) && !group.muted_by) buttons.push(this.#button("Mute …", "mute", () => this.#mute()));
    }
    const acts = this.#killButtons();
    const key = [group.id, group.state, group.muted_by, acts.key].join(" ");
    if (this.controls.dataset.key === key) return;
    this.controls.dataset.key = key;
    const focused = this.controls.contains(document.activeElement);
    place(this.controls, [...buttons, ...acts.buttons()]);
    show(this.controls, this.controls.childElementCount > 0);
    if (focused) this.title.focus({ preventScroll: true });
  }

  #change(change) {
    const { group } = this;
    const act = () => this.list.change(change, [group.id], { assignee: this.group.assignee });
    return this.#button(CHANGES[change], change, act);
  }

  #button(text, change, act) {
    return el("button", { type: "button", class: "button", "data-change": change, on: { click: act } }, text);
  }

  #mute() {
    this.ctx.openMute(this.group.alert.agent_id, signalOf(this.group));
  }

  #killButtons() {
    const { store } = this.ctx;
    const { alert } = this.group;
    if (!this.ctx.may("kill") || isAboutTheSwitch(alert)) return { key: "", buttons: () => [] };
    const cut = store.revocationOf(store.agents.get(alert.agent_id) ?? { agent_id: alert.agent_id });
    return actButtons(alert.agent_id, cut, this.ctx.openPanel);
  }

  async #drawEvidence(alert) {
    if (this.#actions.key !== alert.id) {
      this.#actions = { key: alert.id, list: null };
      const path = `/v1/actions?agent=${encodeURIComponent(alert.agent_id)}&limit=${ACTIONS}`;
      const answer = isAboutTheSwitch(alert) ? { actions: [] } : await this.ctx.api.get(path).catch(() => null);
      if (this.#actions.key !== alert.id || this.group === null) return;
      this.#actions.list = answer?.actions ?? null;
      if (answer === null) this.#actions.key = ""; // the next answer about the group asks again
    }
    this.#part("evidence", [alert.id, this.#actions.list], () => evidencePart(alert, this.#actions.list));
  }
}
