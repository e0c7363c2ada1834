// The reasons of an alert: what was observed, what was expected, how unlikely; each thing said once.

import { el } from "./dom.js";
import { odds, plain, probability } from "./format.js";

function chance(p) {
  return Number.isFinite(p) ? `p ${probability(p)}` : "";
}

function factsOf({ observed, expected }) {
  const facts = [
    ["observed", observed],
    ["expected", expected],
  ];
  return facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
}

function unsaid(facts, sentence) {
  return facts.filter(([, value]) => !sentence.includes(String(value)));
}

/** True when a title says all of a reason: the strongest one often is the title, and nobody reads it twice. */
export function isSaidBy(title, reason) {
  return reason.sentence === title && unsaid(factsOf(reason), title).length === 0;
}

// A reason in words, with what was observed and expected where the words do not say it already.
function reasonItem(reason, title) {
  const { signal, p } = reason;
  const facts = factsOf(reason);
  const sentence = reason.sentence === title ? "" : plain(reason.sentence) || plain(signal);
  const line = (pairs) => pairs.map(([label, value]) => `${label} ${plain(value, 200)}`).join(" · ");
  const rest = line(unsaid(facts, String(reason.sentence ?? "")));
  return el(
    "li",
    {
      class: "reason-item",
      title: [plain(signal, 60), line(facts), Number.isFinite(p) && odds(p)].filter(Boolean).join("\n"),
    },
    el("span", { class: "reason-sentence" }, sentence || rest),
    sentence && rest ? el("span", { class: "reason-facts" }, rest) : null,
    el("span", { class: "reason-p" }, chance(p)),
  );
}

/** Return a list of reasons; what the title above it says is left out. */
export function reasonList(reasons, title) {
  return el("ul", { class: "reasons" }, ...reasons.map((reason) => reasonItem(reason, title)));
}
