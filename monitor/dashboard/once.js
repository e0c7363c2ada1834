// Children that are made anew only when what they say has changed: a button must not vanish under a finger, nor the
// focus be lost, because something was fetched that says the same. What is made this way shows times of day, not ages.

/** Remembers what each node shows. */
export class Once {
  #keys = new WeakMap();

  /** Make the children of `node` by `make()`, unless `content` is what they were made of. True when they were made. */
  draw(node, content, make) {
    const key = JSON.stringify(content);
    if (this.#keys.get(node) === key) return false;
    this.#keys.set(node, key);
    node.replaceChildren(...make().filter(Boolean));
    return true;
  }

  /** Forget what a node shows: it is made anew the next time. */
  forget(...nodes) {
    for (const node of nodes) this.#keys.delete(node);
  }
}
