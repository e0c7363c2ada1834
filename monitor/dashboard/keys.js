// Single keys: what each does depends on the view that is shown. None of them kills, and none is heard while typing.

const TYPING = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";

/** Hands keys to the view in front. A view's `keys` maps `event.key` to a function. */
export class Keys {
  #views = [];
  #anywhere = new Map();

  constructor() {
    document.addEventListener("keydown", (event) => this.#heard(event));
  }

  /** Keys that work in any view. */
  anywhere(keys) {
    for (const [key, act] of Object.entries(keys)) this.#anywhere.set(key, act);
  }

  /** Keys of the view with this root; they are heard while the root is shown. */
  of(root, keys) {
    this.#views.push({ root, keys: new Map(Object.entries(keys)) });
  }

  #heard(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat !== false) {
      // A key that is held down: moving may repeat, everything else happens once.
      if (!event.repeat || !["j", "k"].includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    }
    if (document.querySelector("dialog[open]")) return; // a dialog has its own keys
    const isTyping = event.target instanceof Element && event.target.matches(TYPING);
    if (isTyping && event.key !== "Escape") return;
    const view = this.#views.find(({ root }) => !root.hidden);
    const act = view?.keys.get(event.key) ?? this.#anywhere.get(event.key);
    if (!act) return;
    // A function that returns false has nothing to do: the browser may.
    if (act(event) !== false) event.preventDefault();
  }
}
