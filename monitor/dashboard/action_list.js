// What an agent did lately, newest first; what was stranger than its limit is marked, in words too.

import { el } from "./dom.js";
import { clock, odds, plain } from "./format.js";
import { icon } from "./icons.js";

/**
 * Return the items of actions. `scores`: the agent's scored actions; an action without a score there (its model was
 * still learning, or it is too long ago) is shown without one.
 */
export function actionItems(actions, scores) {
  const scoreOf = new Map(scores.map((score) => [score.seq, score]));
  return actions.map((action) => item(action, scoreOf.get(action.seq)));
}

/** True when an action was stranger than its limit then. */
export function isFlagged(score) {
  return Boolean(score) && score.threshold_p > 0 && score.p <= score.threshold_p;
}

function item(action, score) {
  const flagged = isFlagged(score);
  return el(
    "li",
    { class: "action", "data-flagged": flagged },
    el("time", {}, clock(action.ts_s, Date.now())),
    el("code", {}, plain(action.tool, 80)),
    el("span", { class: "fine" }, detailsOf(action)),
    flagged ? el("span", { class: "action-mark" }, icon("high"), `flagged, ${odds(score.p)}`) : null,
  );
}

function detailsOf(action) {
  const args = (action.arg_names ?? []).map((name) => plain(name, 40)).join(", ");
  const from = Object.entries(action.provenance ?? {})
    .map(([name, source]) => `${plain(name, 40)} from ${plain(source, 60)}`)
    .join(", ");
  return [plain(action.resource, 120), args && `(${args})`, from, plain(action.session_id, 60)]
    .filter(Boolean)
    .join(" · ");
}
