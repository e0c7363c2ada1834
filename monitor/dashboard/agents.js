// The agents, one row each: what its model knows, how strange it has been lately, and the way to stop it.

import { actButtons, badge } from "./badge.js";
import { byId, el, place, setAttr, setText, show } from "./dom.js";
import { ago, count, instant, odds, plain } from "./format.js";
import { holder } from "./hold.js";
import { drawSparkline, sparkline } from "./sparkline.js";
import { levelWords, revocationWords, riskWords } from "./words.js";

// Rows in the page; with more agents than this, the riskiest are shown and the rest can be found by name.
const ROWS_MAX = 300;

/** One row, made once and then changed only where something changed: focus and hover survive. */
class AgentRow {
  #shape = "";

  constructor(agentId, view) {
    this.view = view;
    this.agentId = agentId;
    this.version = el("span", { class: "version" });
    const name = el(
      "button",
      {
        type: "button",
        class: "name",
        title: `${plain(agentId, 300)}: show its alerts only`,
        on: { click: () => view.store.showOnly(agentId) },
      },
      plain(agentId, 120),
    );
    this.model = el("td", { class: "c-model", "data-label": "Model" });
    this.figure = el("span", { class: "risk-figure" });
    this.word = el("span", { class: "risk-word" });
    this.risk = el("td", { class: "c-risk", "data-label": "Risk" }, this.figure, this.word);
    this.spark = sparkline();
    this.last = el("td", { class: "c-last" });
    this.alerts = el("td", { class: "c-alerts num" });
    this.act = el("td", { class: "c-act" });
    this.node = el(
      "tr",
      { "data-agent": agentId },
      el("th", { scope: "row", class: "c-name" }, name, this.version),
      this.model,
      this.risk,
      el("td", { class: "c-spark" }, this.spark),
      this.last,
      this.alerts,
      this.act,
    );
  }

  draw(agent, nowMs) {
    const cut = this.view.store.revocationOf(agent);
    setText(this.version, agent.version ? plain(agent.version, 40) : "");
    this.#drawModel(agent.model ?? {});
    const { tone, text } = riskWords(agent.risk);
    setText(this.figure, Number.isFinite(agent.risk) ? agent.risk.toFixed(1) : "–");
    setText(this.word, text);
    setAttr(this.risk, "data-tone", tone);
    setAttr(
      this.risk,
      "title",
      Number.isFinite(agent.risk) ? `About ${odds(10 ** -agent.risk)} for this agent` : null,
    );
    drawSparkline(this.spark, agent.recent ?? []);
    setText(this.alerts, count(agent.alerts));
    setAttr(this.alerts, "data-some", agent.alerts > 0);
    setAttr(this.node, "data-cut", cut ? cut.level : null);
    this.#drawCut(agent, cut, nowMs);
  }

  #drawModel({ state, seen, needed }) {
    const isReady = state === "calibrated";
    const progress = Number.isFinite(needed) ? `${count(Math.min(seen, needed))}/${count(needed)}` : "";
    const text = isReady
      ? "Calibrated"
      : `${state === "recalibrating" ? "Relearning" : "Learning"} ${progress}`;
    if (this.model.textContent === text) return;
    this.model.replaceChildren(badge(isReady ? "calm" : "watch", isReady ? "check" : "learn", text));
  }

  #drawCut(agent, cut, nowMs) {
    // What the cell is made of changes only with the revocation; its age changes every second.
    const shape = cut ? `${cut.target} ${cut.level} ${cut.change_id}` : "free";
    if (this.#shape !== shape) {
      this.#shape = shape;
      this.act.replaceChildren(...actButtons(agent.agent_id, cut, this.view.openPanel).buttons());
      if (cut) {
        const { icon, text } = levelWords(cut.level);
        const whose = cut.target === `agent:${agent.agent_id}` ? text : `${text} (${plain(cut.target, 60)})`;
        this.last.replaceChildren(badge("cut", icon, whose), el("span", { class: "by" }));
        setAttr(this.last, "title", plain(cut.reason));
      } else {
        this.last.replaceChildren(el("code", { class: "tool" }), el("span", { class: "by" }));
        setAttr(this.last, "title", null);
      }
    }
    if (!cut) setText(this.last.children[0], plain(agent.last_tool, 80) || "–");
    setText(this.last.children[1], cut ? revocationWords(cut, nowMs) : ago(agent.last_ts, nowMs));
  }
}

/** Draws the agents of a store; `openPanel(mode, target)` opens the kill panel. */
export class AgentsView {
  #rows = new Map();
  #order = "risk";
  #find = "";
  #held = [];

  constructor(store, openPanel) {
    this.store = store;
    this.openPanel = openPanel;
    this.isHeld = holder(byId("agents"), () => this.draw());
    byId("agents-order").addEventListener("change", (event) =>
      this.#choose(() => (this.#order = event.target.value)),
    );
    byId("agents-find").addEventListener("input", (event) =>
      this.#choose(() => (this.#find = event.target.value.trim().toLowerCase())),
    );
    store.watch(["agents", "revocations"], () => this.draw());
  }

  /** Bring the rows up to date. */
  draw() {
    const nowMs = Date.now();
    const shown = this.#visible();
    const ids = new Set(shown.map((agent) => agent.agent_id));
    for (const id of this.#rows.keys()) if (!ids.has(id)) this.#rows.delete(id);
    for (const agent of shown) this.#row(agent.agent_id).draw(agent, nowMs);
    place(
      byId("agents"),
      shown.map((agent) => this.#row(agent.agent_id).node),
    );
    this.#drawCounts(shown.length);
  }

  #choose(change) {
    change();
    this.#held = [];
    this.draw();
  }

  #row(id) {
    if (!this.#rows.has(id)) this.#rows.set(id, new AgentRow(id, this));
    return this.#rows.get(id);
  }

  #visible() {
    const all = [...this.store.agents.values()];
    const found = this.#find ? all.filter((agent) => agent.agent_id.toLowerCase().includes(this.#find)) : all;
    found.sort((a, b) => this.#compare(a, b) || (a.agent_id < b.agent_id ? -1 : 1));
    if (this.isHeld() && this.#held.length) {
      const rank = new Map(this.#held.map((id, i) => [id, i]));
      const last = this.#held.length;
      found.sort((a, b) => (rank.get(a.agent_id) ?? last) - (rank.get(b.agent_id) ?? last));
    }
    const shown = found.slice(0, ROWS_MAX);
    this.#held = shown.map((agent) => agent.agent_id);
    return shown;
  }

  #compare(a, b) {
    if (this.#order === "name") return 0;
    if (this.#order === "latest") return (instant(b.last_ts) || 0) - (instant(a.last_ts) || 0);
    const rank = (agent) => (this.store.revocationOf(agent) ? 1 : 0);
    // In whole steps: a list that changes places for a tenth is a list that nobody can read.
    return rank(b) - rank(a) || Math.round(b.risk || 0) - Math.round(a.risk || 0);
  }

  #drawCounts(shown) {
    const total = this.store.agents.size;
    const text = shown === total ? count(total) : `${count(shown)} of ${count(total)}`;
    setText(byId("agents-count"), text);
    setText(byId("tab-agents"), count(total));
    const empty = byId("agents-empty");
    show(empty, shown === 0);
    setText(
      empty,
      total
        ? "No agent has this name."
        : "No agent has sent an action yet. Agents appear here with their first one.",
    );
  }
}
