// An agent's newest scores as a chart: height is −log₁₀ p, so one unit up is ten times stranger; the line is the
// limit.

import { el, setAttr, setText, show, svg } from "./dom.js";
import { clock, count } from "./format.js";

const [WIDTH, HEIGHT] = [1000, 160];
const CEILING = 6; // at least so much room, so that an ordinary agent's noise does not look like mountains

/** A chart that is drawn from `scores`, oldest first. */
export class ScoreChart {
  constructor() {
    this.bars = svg("path", { class: "chart-bars" });
    this.strange = svg("path", { class: "chart-strange" });
    this.limit = svg("path", { class: "chart-limit" });
    this.picture = svg(
      "svg",
      { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      this.bars,
      this.strange,
      this.limit,
    );
    this.words = el("p", { class: "fine" });
    this.node = el(
      "section",
      { class: "part" },
      el("h3", {}, "How strange its actions were"),
      this.picture,
      this.words,
    );
  }

  /** Draw these scores. */
  draw(scores) {
    const known = scores.filter(({ p }) => Number.isFinite(p) && p > 0);
    show(this.picture, known.length > 0);
    const words = known.length ? wordsOf(known) : "No action has a score yet: its model is still learning.";
    setText(this.words, words);
    setAttr(this.picture, "aria-label", words);
    const heights = known.map(({ p }) => -Math.log10(p));
    const limits = known.map(({ threshold_p: p }) => (p > 0 ? -Math.log10(p) : null));
    const top = heights.reduce((highest, height) => Math.max(highest, height), CEILING) * 1.05;
    const x = (i) => (((i + 0.5) / known.length) * WIDTH).toFixed(1);
    const y = (height) => (HEIGHT - (height / top) * HEIGHT).toFixed(1);
    const bar = (i) => `M${x(i)} ${HEIGHT}V${y(Math.max(0.02 * top, heights[i]))}`;
    const isStrange = (i) => limits[i] !== null && heights[i] >= limits[i];
    const indices = known.map((_, i) => i);
    setAttr(
      this.bars,
      "d",
      indices
        .filter((i) => !isStrange(i))
        .map(bar)
        .join(""),
    );
    setAttr(this.strange, "d", indices.filter(isStrange).map(bar).join(""));
    const points = indices
      .filter((i) => limits[i] !== null && limits[i] <= top)
      .map((i) => `${x(i)} ${y(limits[i])}`);
    setAttr(this.limit, "d", points.length ? `M${points.join("L")}` : "");
  }
}

function wordsOf(known) {
  const over = known.filter(({ p, threshold_p: limit }) => limit > 0 && p <= limit).length;
  const nowMs = Date.now();
  const span = `${clock(known[0].ts, nowMs)} to ${clock(known.at(-1).ts, nowMs)}`;
  return `The newest ${count(known.length)} scored actions, ${span}; ${count(over)} beyond the alert limit (dashed).`;
}
