// One agent: what its model knows, how strange it has been, whose errand it runs, and the ways to stop any of that.

import { actionItems } from "./action_list.js";
import { actButtons, badge, cutBadge, targetButtons } from "./badge.js";
import { chainNodes } from "./chain_list.js";
import { targetNode } from "./cut_list.js";
import { el, link, setAttr, setText, show } from "./dom.js";
import { clock, count, odds, plain, probability } from "./format.js";
import { icon } from "./icons.js";
import { Once } from "./once.js";
import { Polling } from "./polling.js";
import { hashOf } from "./router.js";
import { ScoreChart } from "./score_chart.js";
import { agentFilter } from "./targets.js";
import { modelWords, revocationWords, riskWords, severityWords } from "./words.js";

const EVERY_MS = 3_000;
const ACTIONS_MAX = 60;
const SHOWN_MAX = 20;
const SIGNALS_MAX = 20;
const ALL_STATES = "state:open,acknowledged,closed,muted";

// What was seen lately: the list's key, its title, how one is called, and the kind of target that a kill of one has.
const LATELY = [
  ["sessions", "Sessions", "session_id", "session"],
  ["humans", "Humans", "human", "human"],
  ["credentials", "Credentials", "credential", "credential"],
  ["tools", "Tools", "tool", null],
];

/** The view at `#/agents/ID`. */
export class AgentPage {
  #id = null;
  #agent = null;
  #once = new Once();

  constructor(ctx, root) {
    this.ctx = ctx;
    this.root = root;
    this.polling = new Polling(
      () => this.#fetch(),
      EVERY_MS,
      (error) => this.#failed(error),
    );
    this.chart = new ScoreChart();
    this.#build();
    ctx.store.watch(["revocations"], () => this.#agent && !root.hidden && this.#drawStops());
  }

  #build() {
    const part = (id, title, ...children) =>
      el("section", { class: "part", id, "aria-label": title }, el("h3", {}, title), ...children);
    this.title = el("h2", { class: "agent-title" });
    this.acts = el("span", { class: "agent-acts" });
    this.problem = el("p", { class: "problem", role: "alert", hidden: true });
    this.cut = el("div", { class: "agent-cut", id: "agent-cut" });
    this.facts = el("dl", { class: "tiles", id: "agent-facts" });
    this.signals = el("div", {});
    this.timeline = el("ol", { class: "actions", tabindex: 0, "aria-label": "Latest actions" }); // it scrolls: keys must reach it
    this.chains = el("div", { class: "chains" });
    this.lately = el("div", { class: "lately" });
    this.content = el(
      "div",
      { hidden: true },
      el("div", { class: "agent-state" }, this.cut, this.facts),
      this.chart.node,
      el(
        "div",
        { class: "agent-columns" },
        part("agent-signals", "Signals of its alerts, newest first", this.signals),
        part("agent-timeline", "What it did, newest first", this.timeline),
      ),
      part("agent-chains", "On whose behalf", this.chains),
      this.lately,
    );
    const up = link("#/agents", { class: "name words" }, "Agents");
    const head = el(
      "header",
      { class: "page-head" },
      up,
      this.title,
      el("span", { class: "grow" }),
      this.acts,
    );
    this.root.append(head, this.problem, this.content);
  }

  /** Show the agent that the address names. */
  show({ id }) {
    if (id !== this.#id) {
      this.#id = id;
      this.#agent = null;
      setText(this.title, plain(id, 300));
      for (const node of [this.content, this.problem]) show(node, false);
      this.#once.forget(this.acts);
      this.acts.replaceChildren();
    }
    this.polling.start();
  }

  hide() {
    this.polling.stop();
  }

  async #fetch() {
    const { api } = this.ctx;
    const id = this.#id;
    const name = encodeURIComponent(id);
    const [agent, { actions }] = await Promise.all([
      api.get(`/v1/agents/${name}`),
      api.get(`/v1/actions?agent=${name}&limit=${ACTIONS_MAX}`),
    ]);
    if (id !== this.#id) return;
    this.#agent = agent;
    show(this.problem, false);
    show(this.content, true);
    this.#drawFacts();
    this.#drawStops();
    this.chart.draw(agent.scores);
    this.#once.draw(this.signals, agent.signals, () => signalNodes(agent.signals));
    const scores = agent.scores.filter(({ seq }) => seq >= (actions.at(-1)?.seq ?? Infinity));
    this.#once.draw(this.timeline, [actions, scores], () => timelineItems(actions, scores));
  }

  #failed(error) {
    const isUnknown = error.status === 404;
    const words = isUnknown
      ? "No action of an agent with this name was seen."
      : `Not up to date: ${plain(error.message)}.`;
    setText(this.problem, words);
    show(this.problem, true);
    if (isUnknown) this.#drawActs(null); // what was never seen can be killed all the same
  }

  #drawFacts() {
    const agent = this.#agent;
    const { tone, text } = riskWords(agent.risk);
    const model = modelWords(agent.model);
    const figure = Number.isFinite(agent.risk) ? agent.risk.toFixed(1) : "–";
    const tile = (label, ...value) =>
      el("div", { class: "tile" }, el("dt", {}, label), el("dd", {}, ...value));
    const alerts = (more, words) =>
      link(
        hashOf("alerts", null, { filter: `${agentFilter(agent.agent_id)} ${more}`.trim() }),
        { class: "name words" },
        words,
      );
    const shown = [
      agent.risk,
      agent.model,
      agent.actions,
      agent.alerts,
      agent.version,
      agent.last_tool,
      agent.last_ts,
    ];
    this.#once.draw(this.facts, [agent.agent_id, ...shown], () => [
      tile("risk", el("span", { "data-tone": tone, class: "toned" }, `${figure} ${text}`)),
      tile("model", badge(model.tone, model.icon, model.text)),
      tile("actions", count(agent.actions)),
      tile("alerts", alerts("", "to do"), " · ", alerts(ALL_STATES, `all ${count(agent.alerts)}`)),
      tile("version", plain(agent.version, 60) || "–"),
      tile("last action", `${plain(agent.last_tool, 60) || "–"}, ${clock(agent.last_ts, Date.now())}`),
    ]);
  }

  // Everything that depends on what is cut off.
  #drawStops() {
    const { ctx } = this;
    const agent = this.#agent;
    const cut = ctx.store.revocationOf(agent);
    this.#drawActs(cut);
    show(this.cut, cut !== null);
    this.#once.draw(this.cut, cut, () => (cut ? cutNodes(cut) : []));
    const chainCuts = agent.chains.map(({ on_behalf_of: names }) =>
      names.map((name, i) => ctx.store.revocations.get(`${i ? "delegation" : "human"}:${name}`)?.change_id),
    );
    this.#once.draw(this.chains, [agent.agent_id, agent.chains, chainCuts], () =>
      chainNodes(ctx, agent.agent_id, agent.chains),
    );
    const lists = LATELY.map(([key, , name, kind]) =>
      agent[key].slice(0, SHOWN_MAX + 1).map((one) => [one, this.#cutOf(kind, one[name])?.change_id]),
    );
    this.#once.draw(this.lately, lists, () => LATELY.map((which) => this.#list(...which)));
  }

  #drawActs(cut) {
    if (!this.ctx.may("kill")) return;
    const { key, buttons } = actButtons(this.#id, cut, this.ctx.openPanel);
    this.#once.draw(this.acts, key, buttons);
  }

  #cutOf(kind, name) {
    return kind === null ? null : (this.ctx.store.revocations.get(`${kind}:${name}`) ?? null);
  }

  #list(key, title, name, kind) {
    const list = this.#agent[key];
    if (!list.length) return null;
    const items = list.slice(0, SHOWN_MAX).map((one) => this.#item(one[name], kind, one.last_ts));
    const rest = list.length - SHOWN_MAX;
    const more = rest > 0 ? el("li", { class: "fine" }, `and ${count(rest)} more`) : null;
    return el(
      "section",
      { class: "part", "data-list": key },
      el("h3", {}, title),
      el("ul", { class: "seen" }, ...items, more),
    );
  }

  #item(name, kind, ts) {
    const { ctx } = this;
    const cut = this.#cutOf(kind, name);
    const acts =
      kind && ctx.may("kill") ? targetButtons(`${kind}:${name}`, cut, ctx.openPanel).buttons() : [];
    const words = el("span", { class: "seen-text" }, cut ? icon("cut") : null, plain(name, 300));
    const node = el("li", {}, words, el("span", { class: "fine" }, clock(ts, Date.now())), ...acts);
    setAttr(node, "data-cut", cut ? cut.level : null);
    return node;
  }
}

function cutNodes(cut) {
  return [
    cutBadge(cut.level),
    targetNode(cut.target),
    el("span", {}, plain(cut.reason) || "no reason given"),
    el("span", { class: "fine" }, revocationWords(cut, Date.now())),
  ];
}

function timelineItems(actions, scores) {
  const items = actionItems(actions, scores);
  if (items.length === 0) return [el("li", { class: "fine" }, "Nothing that is still on record.")];
  return items.length < ACTIONS_MAX
    ? items
    : [...items, el("li", { class: "fine" }, `the newest ${ACTIONS_MAX}`)];
}

function signalNodes(signals) {
  if (!signals.length) return [el("p", { class: "fine" }, "Nothing it did was strange enough for an alert.")];
  const rest = signals.length - SIGNALS_MAX;
  return [
    el("ul", { class: "signals" }, ...signals.slice(0, SIGNALS_MAX).map(signalItem)),
    rest > 0 ? el("p", { class: "fine" }, `and ${count(rest)} more`) : null,
  ];
}

function signalItem(one) {
  const { icon: name, tone, text } = severityWords(one.severity);
  const chance = [odds(one.p), Number.isFinite(one.p) && `p ${probability(one.p)}`]
    .filter(Boolean)
    .join(" · ");
  const about = [plain(one.tool, 60), clock(one.ts, Date.now()), chance].filter(Boolean).join(" · ");
  const pair = (label, value) => [el("dt", {}, label), el("dd", {}, plain(value, 200) || "–")];
  return el(
    "li",
    { class: "signal", "data-tone": tone },
    el(
      "p",
      { class: "signal-head" },
      el("span", { class: "severity", "data-tone": tone }, icon(name), text),
      el("code", {}, plain(one.signal, 60)),
      el("span", { class: "fine" }, about),
    ),
    link(
      hashOf("alerts", one.alert_id),
      { class: "signal-sentence" },
      plain(one.sentence) || plain(one.signal, 60),
    ),
    el("dl", { class: "pairs" }, ...pair("observed", one.observed), ...pair("expected", one.expected)),
  );
}
