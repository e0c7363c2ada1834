// Who would be stopped, before anybody is: fetched when a kill panel opens and again while it is open.

import { el, setText, show } from "./dom.js";
import { ago, count, plain } from "./format.js";
import { Polling } from "./polling.js";

const EVERY_MS = 4_000;
const NAMES_MAX = 8;
const TILES = [
  ["agents", "agent", "agents"],
  ["sessions", "live session", "live sessions"],
  ["delegates", "delegate", "delegates"],
  ["humans", "human", "humans"],
];

/** Draws what a target would take with it. `onAnswer()` is called when there is a new answer in `answer`. */
export class BlastRadiusBox {
  #target = "";
  #tiles = new Map();

  constructor(ctx, onAnswer) {
    this.ctx = ctx;
    this.onAnswer = onAnswer;
    this.answer = null;
    this.polling = new Polling(
      () => this.#ask(),
      EVERY_MS,
      (error) => this.#failed(error),
    );
    const tiles = el("dl", { class: "tiles" });
    for (const [key] of [...TILES, ["points"]]) tiles.append(this.#tile(key));
    this.names = el("dl", { class: "radius-names" });
    this.note = el("p", { class: "radius-note", "data-tone": "watch" });
    this.problem = el("p", { class: "problem" });
    this.node = el(
      "section",
      { class: "radius", "aria-label": "Blast radius" },
      el("h3", {}, "Who this stops", el("span", { class: "fine" }, "active in the last hour")),
      tiles,
      this.names,
      this.note,
      this.problem,
    );
  }

  /** Ask about a target from now on. */
  open(target) {
    this.#target = target;
    this.answer = null;
    this.#draw();
    show(this.problem, false);
    this.polling.start();
  }

  /** Ask no more. */
  close() {
    this.polling.stop();
  }

  async #ask() {
    const target = this.#target;
    const answer = await this.ctx.api.get(`/v1/blast-radius?target=${encodeURIComponent(target)}`);
    if (target !== this.#target) return;
    this.answer = answer;
    show(this.problem, false);
    this.#draw();
    this.onAnswer();
  }

  #failed(error) {
    setText(
      this.problem,
      `Who this stops is not known: ${plain(error.message)}. A kill can be sent all the same.`,
    );
    show(this.problem, true);
  }

  #tile(key) {
    const figure = el("dd", {}, "–");
    const label = el("dt", {}, key);
    this.#tiles.set(key, { figure, label });
    return el("div", { class: "tile", "data-tile": key }, label, figure);
  }

  #draw() {
    const { answer } = this;
    for (const [key, one, many] of TILES) {
      const n = answer?.counts[key];
      this.#set(key, answer ? count(n) : "…", n === 1 ? one : many);
    }
    const { live, total } = answer?.points ?? {};
    this.#set("points", answer ? `${count(live)}/${count(total)}` : "…", "points live");
    show(this.note, Boolean(answer?.note));
    setText(this.note, plain(answer?.note));
    const lines = answer ? linesOf(answer, Date.now()) : [];
    const text = lines.map(({ label, names }) => label + names).join("\n");
    if (this.names.dataset.text === text) return;
    this.names.dataset.text = text;
    this.names.replaceChildren(
      ...lines.map(({ label, names }) => el("div", {}, el("dt", {}, label), el("dd", {}, names))),
    );
  }

  #set(key, value, label) {
    const tile = this.#tiles.get(key);
    setText(tile.figure, value);
    setText(tile.label, label);
  }
}

function some(list, total, word) {
  const shown = list.slice(0, NAMES_MAX).map(word).join(", ");
  return total > NAMES_MAX ? `${shown} and ${count(total - NAMES_MAX)} more` : shown;
}

function linesOf({ target, agents, sessions, delegates, humans, counts }, nowMs) {
  const name = (text) => plain(text, 60);
  const isItself = agents.length === 1 && target === `agent:${agents[0]}`;
  const session = ({ session_id: id, agent_id: agent, last_ts: ts }) =>
    `${name(id)}${isItself ? "" : ` of ${name(agent)}`} (${ago(ts, nowMs).replace(" ", "\u00a0")})`;
  return [
    { label: "Agents", names: isItself ? "" : some(agents, counts.agents, name) },
    { label: "Sessions", names: some(sessions, counts.sessions, session) },
    { label: "Delegates", names: some(delegates, counts.delegates, name) },
    { label: "Humans", names: some(humans, counts.humans, name) },
  ].filter(({ names }) => names !== "");
}
