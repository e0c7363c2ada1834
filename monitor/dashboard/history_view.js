// What was killed and restored, by whom and why, newest first; what drills did only when it is asked for.

import { badge } from "./badge.js";
import { targetNode } from "./cut_list.js";
import { el, setText, show } from "./dom.js";
import { clock, plain, plural } from "./format.js";
import { changeWords } from "./panel_words.js";
import { hashOf } from "./router.js";

const PAGE = 100;
const ROWS_MAX = 1000;

/** The view at `#/history`; whether drills are shown is in the address. */
export class HistoryView {
  #next = null;
  #turn = 0;
  #hasDrills = false;

  constructor(ctx, root) {
    this.ctx = ctx;
    this.root = root;
    this.#build();
    let seen = 0;
    ctx.store.watch(["revocations"], () => {
      if (root.hidden || seen === ctx.store.transitionCount) return;
      seen = ctx.store.transitionCount;
      this.#page(null);
    });
  }

  #build() {
    this.words = el("p", { class: "fine" });
    this.drills = el("input", {
      type: "checkbox",
      id: "history-drills",
      on: { change: () => this.#choose() },
    });
    this.problem = el("p", { class: "problem", role: "alert", hidden: true });
    this.list = el("ol", { class: "cards", id: "history" });
    this.more = el(
      "button",
      {
        type: "button",
        class: "button",
        id: "history-more",
        hidden: true,
        on: { click: () => this.#page(this.#next) },
      },
      "Load more",
    );
    const choice = el("label", { class: "switch", for: "history-drills" }, this.drills, "With drills");
    this.root.append(
      el(
        "header",
        { class: "page-head" },
        el("h2", {}, "History"),
        this.words,
        el("span", { class: "grow" }),
        choice,
      ),
      this.problem,
      this.list,
      el("div", { class: "page-foot" }, this.more),
    );
  }

  /** Show what the address says. */
  show({ query }) {
    this.#hasDrills = query.get("drills") === "1";
    this.drills.checked = this.#hasDrills;
    this.#page(null);
  }

  hide() {
    this.#turn += 1; // an answer that is under way is for nobody
  }

  #choose() {
    this.ctx.go(hashOf("history", null, { drills: this.drills.checked ? "1" : "" }), { replace: true });
  }

  // A page may be short, or empty, and still not be the last: what drills did is left out of it.
  async #page(before) {
    const turn = (this.#turn += 1);
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (before !== null) query.set("before", String(before));
    if (this.#hasDrills) query.set("drills", "1");
    this.more.disabled = true;
    try {
      const { transitions, next } = await this.ctx.api.get(`/v1/transitions?${query}`);
      if (turn !== this.#turn) return;
      show(this.problem, false);
      if (before === null) this.list.replaceChildren();
      this.list.append(...transitions.map(row));
      this.#settle(next);
    } catch (error) {
      if (turn !== this.#turn) return;
      setText(this.problem, `The history could not be fetched: ${plain(error.message)}.`);
      show(this.problem, true);
    } finally {
      if (turn === this.#turn) this.more.disabled = false;
    }
  }

  #settle(next) {
    this.#next = next;
    const n = this.list.childElementCount;
    const isFull = n >= ROWS_MAX;
    show(this.more, next !== null && !isFull);
    show(this.list, n > 0);
    if (n === 0)
      setText(this.words, next === null ? "Nothing was killed or restored yet." : "Only drills so far.");
    else
      setText(
        this.words,
        `${plural(n, "change")}, the newest first${isFull ? "; older ones: GET /v1/transitions" : ""}.`,
      );
  }
}

function row(change) {
  const nowMs = Date.now();
  const { icon: name, tone, text } = changeWords(change, nowMs, change.expires_at);
  return el(
    "li",
    { class: "card", "data-kind": change.kind },
    el(
      "div",
      { class: "card-words" },
      el(
        "p",
        { class: "card-head" },
        badge(tone, name, text),
        targetNode(change.target),
        change.drill ? badge("calm", "eye", "drill") : null,
      ),
      el("p", { class: "card-reason" }, plain(change.reason, 2000) || "no reason given"),
      el("p", { class: "fine" }, `by ${plain(change.by, 80)} at ${clock(change.ts, nowMs)}`),
    ),
  );
}
