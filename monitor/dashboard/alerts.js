// The alerts, newest first: what was strange, in words, how unlikely, what was done, and the way to stop the agent.

import { actButtons, badge } from "./badge.js";
import { byId, el, place, setAttr, setText, show } from "./dom.js";
import { ago, clock, count, odds, plain, plural, probability } from "./format.js";
import { holder } from "./hold.js";
import { icon } from "./icons.js";
import { isSaidBy, reasonList } from "./reasons.js";
import { ALERTS_MAX } from "./store.js";
import { responseWords, severityWords, verdictWords } from "./words.js";

// Reasons open to the eye; the others are one press away.
const REASONS_SHOWN = 2;
const REASONS_MAX = 24;

// What is looked up only when an alert is worth it: the other signals in full, and whose errand it was.
function details(alert, reasons) {
  const rest = reasons.length - REASONS_SHOWN;
  const summary = rest > 0 ? `${plural(rest, "more signal")} and details` : "Details";
  const body = [rest > 0 && reasonList(reasons.slice(REASONS_SHOWN), alert.title), factList(alert)].filter(
    Boolean,
  );
  return el("details", { class: "more" }, el("summary", {}, summary), ...body);
}

function factList(alert) {
  const chain = (alert.on_behalf_of ?? []).map((name) => plain(name, 80)).join(" → ");
  const facts = [
    ["on behalf of", chain],
    ["session", alert.session_id],
    ["action", alert.action_id],
    ["credential", alert.credential],
    ["policy", alert.policy],
    ["alert", alert.id],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el(
    "p",
    { class: "facts" },
    ...facts.map(([label, value]) =>
      el(
        "span",
        { class: "fact" },
        el("span", { class: "fact-label" }, label),
        " ",
        el("code", {}, plain(value, 300)),
      ),
    ),
  );
}

function oddsLine(alert) {
  if (!Number.isFinite(alert.p)) return "no p-value";
  const limit = Number.isFinite(alert.threshold_p) ? `, alert below ${probability(alert.threshold_p)}` : "";
  return `p ${probability(alert.p)}${limit}`;
}

/** One alert. Only its age and its button change after it was made. */
class AlertItem {
  #shape = "";

  constructor(alert, view) {
    this.alert = alert;
    this.view = view;
    const { icon: name, tone, text } = severityWords(alert.severity);
    const response = responseWords(alert.response);
    const reasons = (alert.reasons ?? [])
      .filter((reason) => reason && !isSaidBy(alert.title, reason))
      .slice(0, REASONS_MAX);
    this.age = el("span", { class: "age" });
    this.act = el("span", { class: "c-act" });
    this.node = el(
      "li",
      { class: "alert", "data-tone": tone, "data-alert": alert.id, "data-agent": alert.agent_id },
      el(
        "div",
        { class: "alert-head" },
        el("span", { class: "severity" }, icon(name), text),
        this.#name(),
        el("code", { class: "tool" }, plain(alert.tool, 80)),
        el(
          "time",
          { datetime: plain(alert.ts, 40), title: plain(alert.ts, 40) },
          clock(alert.ts, Date.now()),
        ),
        this.age,
      ),
      el("h3", {}, plain(alert.title) || verdictWords(alert.verdict)),
      el("p", { class: "odds", title: odds(alert.p) }, `${verdictWords(alert.verdict)} · ${oddsLine(alert)}`),
      reasonList(reasons.slice(0, REASONS_SHOWN), alert.title),
      details(alert, reasons),
      el(
        "div",
        { class: "alert-foot" },
        badge(response.tone, response.icon, response.text),
        el("span", { class: "why" }, plain(alert.response?.why)),
        this.act,
      ),
    );
  }

  #name() {
    const { agent_id: id } = this.alert;
    const show = () => this.view.store.showOnly(id);
    return el(
      "button",
      {
        type: "button",
        class: "name",
        title: `${plain(id, 300)}: show its alerts only`,
        on: { click: show },
      },
      plain(id, 120),
    );
  }

  draw(nowMs) {
    setText(this.age, ago(this.alert.ts, nowMs));
    const agentId = this.alert.agent_id;
    const cut = this.view.store.revocationOf(this.view.store.agents.get(agentId) ?? { agent_id: agentId });
    if (["drill_failed", "break_glass"].includes(this.alert.verdict)) return; // about the kill switch itself: there is no agent to act on
    const { key, buttons } = actButtons(agentId, cut, this.view.openPanel);
    if (this.#shape === key) return;
    this.#shape = key;
    this.act.replaceChildren(...buttons());
  }
}

/** Draws the alerts of a store; `openPanel(mode, target)` opens the kill panel. */
export class AlertsView {
  #items = new Map();
  #shownIds = new Set();

  constructor(store, openPanel) {
    this.store = store;
    this.openPanel = openPanel;
    this.isHeld = holder(byId("alerts"), () => this.draw());
    byId("alerts-held").addEventListener("click", () => this.#letIn());
    byId("alerts-filter").addEventListener("click", () => store.showOnly(null));
    store.watch(["view"], () => this.#letIn());
    store.watch(["alerts", "agents", "revocations"], () => this.draw());
    setInterval(() => this.#drawAges(), 5_000);
  }

  /** Bring the list up to date. While somebody is working in it, new alerts wait behind a button that counts them. */
  draw() {
    const wanted = this.#wanted();
    const isHeld = this.isHeld() && this.#shownIds.size > 0;
    const shown = isHeld ? wanted.filter((alert) => this.#shownIds.has(alert.id)) : wanted;
    this.#drawList(shown);
    this.#drawHeld(wanted.length - shown.length);
    this.#drawCounts(wanted.length);
  }

  #wanted() {
    const { alerts, onlyAgent } = this.store;
    return onlyAgent === null ? alerts : alerts.filter((alert) => alert.agent_id === onlyAgent);
  }

  #letIn() {
    this.#shownIds.clear();
    byId("alerts-scroll").scrollTop = 0;
    this.draw();
  }

  #drawList(shown) {
    const known = new Set(this.store.alerts.map((alert) => alert.id));
    for (const id of this.#items.keys()) if (!known.has(id)) this.#items.delete(id);
    for (const alert of shown)
      if (!this.#items.has(alert.id)) this.#items.set(alert.id, new AlertItem(alert, this));
    this.#shownIds = new Set(shown.map((alert) => alert.id));
    place(
      byId("alerts"),
      shown.map((alert) => this.#items.get(alert.id).node),
    );
    this.#drawAges();
  }

  #drawAges() {
    const nowMs = Date.now();
    for (const id of this.#shownIds) this.#items.get(id)?.draw(nowMs);
  }

  #drawHeld(waiting) {
    const button = byId("alerts-held");
    show(button, waiting > 0);
    setText(button, `${plural(waiting, "new alert")} – show`);
  }

  #drawCounts(n) {
    const { onlyAgent, alerts, alertsDropped } = this.store;
    const isFull = alerts.length >= ALERTS_MAX || alertsDropped > 0;
    setText(
      byId("alerts-count"),
      onlyAgent === null
        ? isFull
          ? `newest ${count(n)}`
          : count(n)
        : `${count(n)} of ${count(alerts.length)}`,
    );
    setText(byId("tab-alerts"), count(alerts.length));
    const chip = byId("alerts-filter");
    show(chip, onlyAgent !== null);
    if (onlyAgent !== null) chip.replaceChildren(el("span", {}, plain(onlyAgent, 60)), icon("cross"));
    setAttr(
      chip,
      "aria-label",
      onlyAgent === null ? null : `Show all agents again, not only ${plain(onlyAgent, 60)}`,
    );
    const empty = byId("alerts-empty");
    show(empty, n === 0);
    setText(
      empty,
      onlyAgent === null
        ? "No alerts. Every action so far was usual for its agent, or its model is still learning."
        : "No alerts of this agent.",
    );
  }
}
