// The last sixty actions of an agent as bars: height is −log₁₀ p, so one unit up is ten times stranger.

import { setAttr, svg } from "./dom.js";

const BARS = 60;
const STEP = 2;
const HEIGHT = 24;
// At least this much head-room, so that an ordinary agent's noise does not look like a mountain range.
const CEILING = 6;
// From here on a bar is drawn strong. Ours, for the eye only: whether it is an alert is the daemon's decision.
export const STRANGE = 4;

function bars(values, keep, ceiling) {
  const offset = BARS - values.length;
  return values
    .map((value, i) => [value, (offset + i) * STEP + 1])
    .filter(([value]) => Number.isFinite(value) && keep(value))
    .map(
      ([value, x]) =>
        `M${x} ${HEIGHT}V${(HEIGHT - Math.max(1, (Math.min(value, ceiling) / ceiling) * HEIGHT)).toFixed(1)}`,
    )
    .join("");
}

/** Return an empty sparkline. */
export function sparkline() {
  return svg(
    "svg",
    { class: "spark", viewBox: `0 0 ${BARS * STEP} ${HEIGHT}`, role: "img", preserveAspectRatio: "none" },
    svg("path", { class: "spark-calm", d: "" }),
    svg("path", { class: "spark-strange", d: "" }),
  );
}

/** Draw values, oldest first, into a sparkline; nulls leave a gap. */
export function drawSparkline(node, values) {
  const shown = values.slice(-BARS);
  const known = shown.filter(Number.isFinite);
  const highest = known.length ? Math.max(...known) : 0;
  const ceiling = Math.max(CEILING, highest);
  setAttr(
    node.children[0],
    "d",
    bars(shown, (value) => value < STRANGE, ceiling),
  );
  setAttr(
    node.children[1],
    "d",
    bars(shown, (value) => value >= STRANGE, ceiling),
  );
  setAttr(
    node,
    "aria-label",
    known.length ? `Last ${known.length} actions, strangest ${highest.toFixed(1)}` : "No scores yet",
  );
}
