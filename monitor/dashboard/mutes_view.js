// The mutes in force: what is hidden, since when, until when, by whom, why; and the way to lift each.

import { el, link, place, setText, show } from "./dom.js";
import { clock, plain, plural } from "./format.js";
import { termFor } from "./filter_terms.js";
import { hashOf } from "./router.js";

const ROWS_MAX = 500;

/** The view at `#/mutes`. */
export class MutesView {
  #rows = new Map();

  constructor(ctx, root) {
    this.ctx = ctx;
    this.root = root;
    this.words = el("p", { class: "fine" });
    this.list = el("ul", { class: "cards", id: "mutes" });
    root.append(el("header", { class: "page-head" }, el("h2", {}, "Mutes"), this.words), this.list);
    ctx.store.watch(["mutes"], () => this.#draw());
  }

  show() {
    this.ctx.refresh("mutes");
    this.#draw();
  }

  hide() {}

  #draw() {
    if (this.root.hidden) return;
    const mutes = [...this.ctx.store.mutes.values()].sort((a, b) => a.until - b.until);
    const shown = mutes.slice(0, ROWS_MAX);
    const ids = new Set(shown.map(({ id }) => id));
    for (const id of this.#rows.keys()) if (!ids.has(id)) this.#rows.delete(id);
    for (const mute of shown) if (!this.#rows.has(mute.id)) this.#rows.set(mute.id, this.#row(mute));
    place(
      this.list,
      shown.map(({ id }) => this.#rows.get(id)),
    );
    show(this.list, shown.length > 0);
    setText(
      this.words,
      mutes.length
        ? `${plural(mutes.length, "mute")} in force, the one that ends first on top.`
        : "Nothing is muted.",
    );
  }

  #row(mute) {
    const nowMs = Date.now();
    const filter = `${termFor("agent", mute.agent_id)} state:muted`;
    const lift = el(
      "button",
      {
        type: "button",
        class: "button",
        "data-lift": mute.id,
        "aria-label": `Lift the mute of ${plain(mute.agent_id, 80)}, ${plain(mute.signal, 60)}`,
        on: { click: () => this.#lift(mute, lift) },
      },
      "Lift",
    );
    return el(
      "li",
      { class: "card", "data-mute": mute.id },
      el(
        "div",
        { class: "card-words" },
        el(
          "p",
          {},
          link(hashOf("agents", mute.agent_id), { class: "name" }, plain(mute.agent_id, 120)),
          " ",
          el("code", {}, plain(mute.signal, 80)),
        ),
        el("p", { class: "card-reason" }, plain(mute.reason, 2000)),
        el(
          "p",
          { class: "fine" },
          `by ${plain(mute.by, 80)} at ${clock(mute.at, nowMs)}, until ${clock(mute.until, nowMs)}`,
        ),
        link(hashOf("alerts", null, { filter }), { class: "name words" }, "Show what it hides"),
      ),
      this.ctx.may("triage") ? lift : null,
    );
  }

  async #lift(mute, button) {
    button.disabled = true;
    try {
      await this.ctx.api.del(`/v1/mutes/${encodeURIComponent(mute.id)}`);
      this.ctx.tell("Lifted.");
    } catch (error) {
      button.disabled = false;
      this.ctx.tell(`Not lifted: ${plain(error.message)}`, "bad");
    }
    this.ctx.refresh("mutes");
  }
}
