// A list that re-orders itself under the pointer makes people kill the wrong agent. While somebody is working in a
// list (moved the pointer over it or pressed a key in it within the last seconds) its order stands still.

const HOLD_MS = 4_000;

/**
 * Return `isHeld()` for a list; `release` is called when the hold is over. `beside`: nodes over the list that belong to
 * it; going there does not leave it.
 */
export function holder(list, release, beside = []) {
  const nodes = [list, ...beside];
  let untilMs = 0;
  let timer = 0;
  const extend = (event) => {
    if (event.pointerType === "touch") return; // a finger does not hover: the list moves only between touches
    untilMs = Date.now() + HOLD_MS;
    clearTimeout(timer);
    timer = setTimeout(release, HOLD_MS + 20);
  };
  const leave = ({ relatedTarget: to }) => {
    if (nodes.some((node) => node.contains(to))) return;
    untilMs = 0;
    release();
  };
  for (const node of nodes) {
    for (const kind of ["pointermove", "pointerdown", "keydown", "focusin"])
      node.addEventListener(kind, extend, { passive: true });
    node.addEventListener("pointerleave", leave);
  }
  return () => Date.now() < untilMs;
}
