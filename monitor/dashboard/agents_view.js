// The agents, one row each: what its model knows, how strange it has been lately, and the way to stop it.

import { actButtons, badge } from "./badge.js";
import { CutList } from "./cut_list.js";
import { el, link, place, setAttr, setText, show } from "./dom.js";
import { ago, count, instant, odds, plain } from "./format.js";
import { holder } from "./hold.js";
import { hashOf } from "./router.js";
import { drawSparkline, sparkline } from "./sparkline.js";
import { levelWords, modelWords, revocationWords, riskWords } from "./words.js";

// Rows in the page; with more agents than this, the riskiest are shown and the rest can be found by name.
const ROWS_MAX = 300;
const CUT_MAX = 20;

/** One row, made once and then changed only where something changed: focus and hover survive. */
class AgentRow {
  #shape = "";

  constructor(agentId, view) {
    this.view = view;
    this.agentId = agentId;
    this.version = el("span", { class: "version" });
    const name = link(
      hashOf("agents", agentId),
      { class: "name", title: plain(agentId, 300) },
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

  /** Bring the row up to date. */
  draw(agent, nowMs) {
    const cut = this.view.ctx.store.revocationOf(agent);
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
    const { tone, icon, text } = modelWords({ state, seen, needed });
    if (this.model.textContent === text) return;
    this.model.replaceChildren(badge(tone, icon, text));
  }

  #drawCut(agent, cut, nowMs) {
    // What the cell is made of changes only with the revocation; its age changes every second.
    const shape = cut ? `${cut.target} ${cut.level} ${cut.change_id}` : "free";
    if (this.#shape !== shape) {
      this.#shape = shape;
      const { ctx } = this.view;
      if (ctx.may("kill"))
        this.act.replaceChildren(...actButtons(agent.agent_id, cut, ctx.openPanel).buttons());
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

const ORDERS = [
  ["risk", "Riskiest first"],
  ["latest", "Latest first"],
  ["name", "By name"],
];
const HEADS = ["Agent", "Model", "Risk", "Last 60 actions", "Last action", "Alerts", ""];

/** The view at `#/agents`; the search and the order are in the address. */
export class AgentsView {
  #rows = new Map();
  #order = "risk";
  #find = "";
  #held = [];

  constructor(ctx, root) {
    this.ctx = ctx;
    this.root = root;
    this.#build();
    this.isHeld = holder(this.body, () => this.draw());
    ctx.store.watch(["agents", "revocations"], () => this.draw());
    ctx.keys.of(root, { "/": () => this.find.focus() });
  }

  /** Show what the address says. */
  show({ query }) {
    this.#find = query.get("find") ?? "";
    this.#order = query.get("order") ?? "risk";
    if (document.activeElement !== this.find) this.find.value = this.#find;
    this.order.value = this.#order;
    this.#held = [];
    this.ctx.refresh("agents");
    this.draw();
  }

  hide() {}

  #build() {
    const choose = () => this.#choose();
    this.count = el("p", { class: "fine", id: "agents-count" });
    this.find = el("input", {
      type: "search",
      id: "agents-find",
      placeholder: "Find by name",
      "aria-label": "Find agents by name",
      autocomplete: "off",
      spellcheck: "false",
      on: { input: choose },
    });
    this.order = el(
      "select",
      { id: "agents-order", "aria-label": "Order of the agents", on: { change: choose } },
      ...ORDERS.map(([value, text]) => el("option", { value }, text)),
    );
    this.body = el("tbody", { id: "agents" });
    this.empty = el("p", { class: "empty", hidden: true });
    this.cut = new CutList(this.ctx, { id: "agents-cut", most: CUT_MAX });
    const heads = HEADS.map((text, i) =>
      el("th", { scope: "col", class: i === 5 ? "num" : null }, text || el("span", { class: "sr" }, "Act")),
    );
    this.root.append(
      el(
        "header",
        { class: "page-head" },
        el("h2", {}, "Agents"),
        this.count,
        el("span", { class: "grow" }),
        this.find,
        this.order,
      ),
      this.cut.node,
      el("table", { class: "agent-table" }, el("thead", {}, el("tr", {}, ...heads)), this.body),
      this.empty,
    );
  }

  /** Bring the rows up to date. */
  draw() {
    if (this.root.hidden) return;
    const nowMs = Date.now();
    const shown = this.#visible();
    const ids = new Set(shown.map((agent) => agent.agent_id));
    for (const id of this.#rows.keys()) if (!ids.has(id)) this.#rows.delete(id);
    for (const agent of shown) this.#row(agent.agent_id).draw(agent, nowMs);
    place(
      this.body,
      shown.map((agent) => this.#row(agent.agent_id).node),
    );
    this.#drawCounts(shown.length);
    this.cut.draw(this.#cutElsewhere());
  }

  // What is cut off and has no row of its own here: sessions, humans, tools, agents that never sent an action.
  #cutElsewhere() {
    const { store } = this.ctx;
    const inRows = new Set([...store.agents.values()].map((agent) => store.revocationOf(agent)?.target));
    return [...store.revocations.values()].filter(({ target }) => target === "fleet" || !inRows.has(target));
  }

  #choose() {
    const order = this.order.value === "risk" ? "" : this.order.value;
    this.ctx.go(hashOf("agents", null, { find: this.find.value.trim(), order }), { replace: true });
  }

  #row(id) {
    if (!this.#rows.has(id)) this.#rows.set(id, new AgentRow(id, this));
    return this.#rows.get(id);
  }

  #visible() {
    const all = [...this.ctx.store.agents.values()];
    const wanted = this.#find.toLowerCase();
    const found = wanted ? all.filter((agent) => agent.agent_id.toLowerCase().includes(wanted)) : all;
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

  // What is cut off stands on top, whatever the order.
  #compare(a, b) {
    const rank = (agent) => (this.ctx.store.revocationOf(agent) ? 1 : 0);
    return rank(b) - rank(a) || this.#compareFree(a, b);
  }

  #compareFree(a, b) {
    if (this.#order === "name") return 0;
    if (this.#order === "latest") return (instant(b.last_ts) || 0) - (instant(a.last_ts) || 0);
    // In whole steps: a list that changes places for a tenth is a list that nobody can read.
    return Math.round(b.risk || 0) - Math.round(a.risk || 0);
  }

  #drawCounts(shown) {
    const total = this.ctx.store.agents.size;
    setText(this.count, shown === total ? count(total) : `${count(shown)} of ${count(total)}`);
    show(this.empty, shown === 0);
    setText(
      this.empty,
      total
        ? "No agent has this name."
        : "No agent has sent an action yet. Agents appear here with their first one.",
    );
  }
}
