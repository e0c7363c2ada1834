// A list that re-orders itself under the pointer makes people kill the wrong agent. While somebody is working in a
// list (moved the pointer over it or pressed a key in it within the last seconds) its order stands still.

const HOLD_MS = 4_000;

/** Return `isHeld()` for a list; `release` is called when the hold is over. */
export function holder(list, release) {
  let untilMs = 0;
  let timer = 0;
  const extend = (event) => {
    if (event.pointerType === "touch") return; // a finger does not hover: the list moves only between touches
    untilMs = Date.now() + HOLD_MS;
    clearTimeout(timer);
    timer = setTimeout(release, HOLD_MS + 20);
  };
  for (const kind of ["pointermove", "pointerdown", "keydown", "focusin"])
    list.addEventListener(kind, extend, { passive: true });
  list.addEventListener("pointerleave", () => {
    untilMs = 0;
    release();
  });
  return () => Date.now() < untilMs;
}
