// What the daemon said, word for word, to read and to copy.

import { el, setText } from "./dom.js";

/** A closed box with the JSON of a value in it, and a button that copies it. */
export class RawJson {
  #text = "";

  constructor(ctx) {
    this.ctx = ctx;
    this.pre = el("pre", { class: "raw", tabindex: "0", "aria-label": "JSON" });
    this.node = el(
      "details",
      { class: "part raw-part", on: { toggle: () => this.#fill() } },
      el("summary", {}, "Raw JSON"),
      el("button", { type: "button", class: "button", id: "raw-copy", on: { click: () => this.#copy() } }, "Copy"),
      this.pre,
    );
  }

  /** Note another value. */
  draw(value) {
    this.#text = JSON.stringify(value, null, 2);
    this.#fill();
  }

  /** Forget the value. */
  clear() {
    this.#text = "";
    setText(this.pre, "");
  }

  // Only what is open costs anything.
  #fill() {
    if (this.node.open) setText(this.pre, this.#text);
  }

  async #copy() {
    try {
      // There is no clipboard for pages that came neither over TLS nor from this machine.
      await navigator.clipboard.writeText(this.#text);
      this.ctx.tell("Copied.", "ok");
    } catch {
      getSelection()?.selectAllChildren(this.pre);
      this.ctx.tell("This browser does not let the page copy. It is selected: press Ctrl-C.", "bad");
    }
  }
}
