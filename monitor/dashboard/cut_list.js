// What is cut off now, one card each, with the way to restore it. Cards are made once: a button must not vanish under
// a finger.

import { actButton, cutBadge } from "./badge.js";
import { el, link, place, show } from "./dom.js";
import { count, plain } from "./format.js";
import { hashOf } from "./router.js";
import { parted } from "./targets.js";
import { revocationWords } from "./words.js";

/** A list of revocations, the newest on top; `draw(records)` brings it up to date. */
export class CutList {
  #cards = new Map();

  /** `most`: how many are shown; how many more there are is said. */
  constructor(ctx, { id, most }) {
    this.ctx = ctx;
    this.most = most;
    this.more = el("li", { class: "fine" });
    this.node = el("ul", { class: "cards", id, "aria-label": "Cut off now" });
  }

  /** Show these. */
  draw(records) {
    const sorted = [...records].sort((a, b) => (b.epoch ?? 0) - (a.epoch ?? 0));
    const shown = sorted.slice(0, this.most);
    const keys = new Set(shown.map(keyOf));
    for (const key of this.#cards.keys()) if (!keys.has(key)) this.#cards.delete(key);
    for (const record of shown)
      if (!this.#cards.has(keyOf(record))) this.#cards.set(keyOf(record), this.#card(record));
    const rest = sorted.length - shown.length;
    this.more.textContent = `and ${count(rest)} more: find them by name, or in the history`;
    place(this.node, [
      ...shown.map((record) => this.#cards.get(keyOf(record))),
      ...(rest > 0 ? [this.more] : []),
    ]);
    show(this.node, shown.length > 0);
  }

  #card(record) {
    const { ctx } = this;
    const words = el(
      "div",
      { class: "card-words" },
      el("p", { class: "card-head" }, cutBadge(record.level), targetNode(record.target)),
      el("p", { class: "card-reason" }, plain(record.reason) || "no reason given"),
      el("p", { class: "fine" }, revocationWords(record, Date.now())),
    );
    const act = ctx.may("kill") ? actButton("restore", record.target, ctx.openPanel) : null;
    return el("li", { class: "card", "data-target": record.target }, words, act);
  }
}

/** Return the name of a target; an agent's leads to its page. */
export function targetNode(target) {
  const { kind, value } = parted(target);
  if (kind !== "agent") return el("code", { class: "target" }, plain(target, 200));
  return link(hashOf("agents", value), { class: "name target" }, plain(target, 200));
}

function keyOf(record) {
  return `${record.target} ${record.level} ${record.change_id} ${record.expires_at}`;
}
