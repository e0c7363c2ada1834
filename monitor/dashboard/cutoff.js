// The list of everything that is cut off now, whatever kind of target it is, each with the way back beside it.

import { actButton, badge } from "./badge.js";
import { byId, el, place, setText, show } from "./dom.js";
import { plain } from "./format.js";
import { levelWords, revocationWords } from "./words.js";

const ROWS_MAX = 100;

/** Draws the revocations of a store. */
export class CutoffView {
  #rows = new Map();

  constructor(store, openPanel) {
    this.store = store;
    this.openPanel = openPanel;
    store.watch(["revocations"], () => this.draw());
  }

  /** Bring the list up to date, newest first. */
  draw() {
    const records = [...this.store.revocations.values()].sort((a, b) => (b.epoch ?? 0) - (a.epoch ?? 0));
    const shown = records.slice(0, ROWS_MAX);
    const keys = new Set(shown.map(keyOf));
    for (const key of this.#rows.keys()) if (!keys.has(key)) this.#rows.delete(key);
    place(
      byId("cut-list"),
      shown.map((record) => this.#row(record)),
    );
    show(byId("cut"), shown.length > 0);
    setText(
      byId("cut-title"),
      records.length > ROWS_MAX
        ? `Cut off now: ${records.length}, the newest ${ROWS_MAX}`
        : `Cut off now: ${records.length}`,
    );
  }

  #row(record) {
    const key = keyOf(record);
    if (!this.#rows.has(key)) this.#rows.set(key, this.#made(record));
    return this.#rows.get(key);
  }

  #made(record) {
    const { icon, text } = levelWords(record.level);
    const shown = plain(record.target, 200);
    return el(
      "li",
      { "data-target": record.target },
      badge("cut", icon, text),
      el(
        "div",
        { class: "cut-words" },
        el("code", { class: "target" }, shown),
        el("span", { class: "reason" }, plain(record.reason) || "no reason given"),
        el("span", { class: "by" }, revocationWords(record, Date.now())),
      ),
      actButton("restore", record.target, this.openPanel),
    );
  }
}

function keyOf(record) {
  return `${record.target} ${record.level} ${record.change_id} ${record.expires_at}`;
}
