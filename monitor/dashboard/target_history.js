// What was done to a target before, so that nobody kills or restores it without knowing.

import { badge } from "./badge.js";
import { el } from "./dom.js";
import { clock, count, plain } from "./format.js";
import { changeWords } from "./panel_words.js";

const LOOKED_AT = 500; // of all targets' changes; the daemon does not sort them by target
const SHOWN_MAX = 5;

/** The newest changes of one target, fetched when it is opened and when somebody asks again. */
export class TargetHistory {
  #target = "";

  constructor(ctx) {
    this.ctx = ctx;
    this.body = el("ol", { class: "before" });
    this.node = el(
      "section",
      { class: "target-history", "aria-label": "History of this target" },
      el("h3", {}, "What was done to it, newest first"),
      this.body,
    );
  }

  /** Show the history of this target. */
  open(target) {
    this.#target = target;
    this.body.replaceChildren(line("…"));
    return this.fetch();
  }

  /** Fetch it again. */
  async fetch() {
    const target = this.#target;
    let items;
    try {
      const { transitions, next } = await this.ctx.api.get(`/v1/transitions?limit=${LOOKED_AT}`);
      items = itemsOf(transitions, target, next !== null);
    } catch (error) {
      items = [line(`Not known: ${plain(error.message)}.`)];
    }
    if (target === this.#target) this.body.replaceChildren(...items);
  }
}

function itemsOf(transitions, target, hasMore) {
  const ours = transitions.filter((change) => change.target === target);
  const items = ours.slice(0, SHOWN_MAX).map(item);
  const rest = ours.length - items.length;
  if (rest > 0) items.push(line(`and ${count(rest)} before that`));
  if (ours.length === 0)
    items.push(
      line(hasMore ? `Nothing among the newest ${transitions.length} changes.` : "Nothing is on record."),
    );
  return items;
}

function item(change) {
  const nowMs = Date.now();
  const { icon, tone, text } = changeWords(change, nowMs, change.expires_at);
  return el(
    "li",
    {},
    badge(tone, icon, text),
    el("span", { class: "before-reason" }, plain(change.reason, 300) || "no reason given"),
    el("span", { class: "fine" }, `by ${plain(change.by, 80)}, ${clock(change.at, nowMs)}`),
  );
}

function line(text) {
  return el("li", { class: "fine" }, text);
}
