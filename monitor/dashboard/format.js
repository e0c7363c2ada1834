// Values into words and figures. Pure: no page, no clock (`nowMs` is an argument).

const SUPERSCRIPT = {
  "-": "⁻",
  0: "⁰",
  1: "¹",
  2: "²",
  3: "³",
  4: "⁴",
  5: "⁵",
  6: "⁶",
  7: "⁷",
  8: "⁸",
  9: "⁹",
};

// Control characters, zero-width ones and those that reverse the direction of text: with them one agent's name could
// be made to look like another's, and the wrong one would be killed.
const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;

/** Return foreign text with what cannot be seen spelled out as ⟨U+202E⟩, cut to `limit` characters. */
export function plain(value, limit = 400) {
  if (value === null || value === undefined) return "";
  const text =
    typeof value === "string" ? value : typeof value === "object" ? JSON.stringify(value) : String(value);
  const cut = text.length > limit ? `${text.slice(0, limit)}…` : text;
  return cut.replace(HIDDEN, (c) => `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

/** Return a count with thin spaces: 1 234 567. */
export function count(n) {
  if (!Number.isFinite(n)) return "–";
  return String(Math.round(n)).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
}

/** Return a rate: two digits that matter below 10, whole numbers above. */
export function rate(n) {
  if (!Number.isFinite(n)) return "–";
  return n < 10 ? n.toFixed(1) : count(n);
}

/** Return a duration in milliseconds with its unit: 3.1 ms, 48 ms, 2.1 s. */
export function ms(value) {
  if (!Number.isFinite(value)) return "–";
  if (value < 10) return `${value.toFixed(1)}\u00a0ms`;
  return value < 1000 ? `${Math.round(value)}\u00a0ms` : `${(value / 1000).toFixed(1)}\u00a0s`;
}

/** Return a probability in scientific notation that does not break: 1.2 × 10⁻⁷; plain decimals from 0.001 up. */
export function probability(p) {
  if (!Number.isFinite(p) || p < 0) return "–";
  if (p === 0) return "0";
  if (p >= 0.001) return p >= 0.9995 ? "1" : String(Number(p.toPrecision(2)));
  const [mantissa, exponent] = p.toExponential(1).split("e");
  const power = [...String(Number(exponent))].map((c) => SUPERSCRIPT[c]).join("");
  return mantissa === "1.0" ? `10${power}` : `${mantissa}\u00a0×\u00a010${power}`;
}

/** Return a probability as odds an analyst can picture: "1 in 8 million". */
export function odds(p) {
  if (!Number.isFinite(p) || p <= 0 || p > 1) return "";
  const n = 1 / p;
  if (n < 1000) return `1 in ${Math.max(1, Math.round(n))}`;
  const [size, word] =
    n < 1e6
      ? [1e3, "thousand"]
      : n < 1e9
        ? [1e6, "million"]
        : n < 1e12
          ? [1e9, "billion"]
          : [1e12, "trillion"];
  const figure = n / size;
  return figure >= 1000
    ? `under 1 in 1000 ${word}`
    : `1 in ${figure < 10 ? Number(figure.toFixed(1)) : Math.round(figure)} ${word}`;
}

/** Return milliseconds since the epoch for an RFC 3339 string or epoch seconds; NaN for anything else. */
export function instant(value) {
  if (typeof value === "number") return value * 1000;
  return typeof value === "string" ? Date.parse(value) : NaN;
}

/** Return the local time of day, with the date in front when it is another day than `nowMs`. */
export function clock(value, nowMs) {
  const at = new Date(instant(value));
  if (Number.isNaN(at.getTime())) return "–";
  const two = (n) => String(n).padStart(2, "0");
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  if (at.toDateString() === new Date(nowMs).toDateString()) return time;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
}

/** Return how long ago in one unit: now, 12 s, 5 min, 3 h, 2 d. */
export function ago(value, nowMs) {
  const seconds = (nowMs - instant(value)) / 1000;
  if (Number.isNaN(seconds)) return "–";
  if (seconds < 2) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
}

/** Return "1 agent", "2 agents". */
export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** Return names as "a, b, c and 4 more". */
export function names(list, limit = 12) {
  const shown = list
    .slice(0, limit)
    .map((name) => plain(name, 80))
    .join(", ");
  return list.length > limit ? `${shown} and ${list.length - limit} more` : shown;
}
