// What the panel says: before an act what it will do, after it what came of it. Pure.

import { ago, count, ms, names, plain, plural } from "./format.js";
import { levelWords, revocationWords } from "./words.js";

function pointsSentence(live, doing) {
  if (live === 0)
    return {
      text: "No enforcement point is connected: it is written down, but nothing refuses the target yet.",
      tone: "bad",
    };
  return { text: `${plural(live, "live enforcement point")} ${doing}` };
}

function recently(at, nowMs) {
  const since = ago(at, nowMs);
  return since === "now" ? "just now" : `${since} ago`;
}

function killEffects(target, store, nowMs) {
  const agent = target.startsWith("agent:") ? store.agents.get(target.slice("agent:".length)) : undefined;
  const live = store.points.filter((point) => point.live).length;
  const silent = store.points.length - live;
  return [
    pointsSentence(
      live,
      `${live === 1 ? "refuses" : "refuse"} its next call within milliseconds, and cancel${live === 1 ? "s" : ""} the running one where it is watched.`,
    ),
    silent > 0 && {
      text: `${plural(silent, "point")} cannot be heard: what cannot hear us refuses everything by itself when its lease runs out.`,
      tone: "watch",
    },
    agent && {
      text: `Its last action: ${plain(agent.last_tool, 80)}, ${recently(agent.last_ts, nowMs)}; ${plural(agent.actions, "action")} so far.`,
    },
    { text: "It stays cut off until somebody restores it." },
  ].filter(Boolean);
}

function restoreEffects(target, store, nowMs) {
  const record = store.revocations.get(target);
  const live = store.points.filter((point) => point.live).length;
  return [
    record && {
      text: `${levelWords(record.level).text} ${revocationWords(record, nowMs)}: ${plain(record.reason)}`,
    },
    pointsSentence(live, `let${live === 1 ? "s" : ""} it act again, at once.`),
    { text: "If it goes on as before, its next strange action can cut it off again." },
  ].filter(Boolean);
}

/** Return what an act will do, as [{text, tone?}]. */
export function effectsOf(mode, target, store, nowMs) {
  return mode === "kill" ? killEffects(target, store, nowMs) : restoreEffects(target, store, nowMs);
}

/** Return {tone, icon, text} for the answer of the daemon and what the feed has brought since. */
export function verdictOf(mode, response, state) {
  const figure = `${count(state.confirmed)}/${count(state.total)}`;
  const done = mode === "kill" ? "Enforced" : "Restored:";
  if (!response.applied)
    return {
      tone: "watch",
      icon: "check",
      text: mode === "kill" ? "No change: it was cut off already" : "No change: it was not cut off",
    };
  if (state.total === 0)
    return { tone: "watch", icon: "high", text: "Written, but no enforcement point is connected" };
  if (response.contained)
    return { tone: "ok", icon: "check", text: `${done} ${figure} in ${ms(response.elapsed_ms)}` };
  if (state.isContained) return { tone: "ok", icon: "check", text: `${done} ${figure}, the last ones late` };
  return {
    tone: "bad",
    icon: "critical",
    text: `${mode === "kill" ? "Not contained" : "Not everywhere yet"}: ${figure} after ${ms(response.elapsed_ms)}`,
  };
}

/** Return what else there is to know about the answer, as [{text, tone?}]. */
export function notesOf(response, state) {
  const lost = state.missing.length;
  return [
    !response.applied && response.note && { text: plain(response.note) },
    lost > 0 && {
      text: `Not confirmed by ${names(state.missing)}. A point that cannot hear us refuses everything by itself when its lease runs out.`,
      tone: "bad",
    },
    response.applied && response.durable === true && { text: "It is on disk." },
    response.applied &&
      response.durable === false && {
        text: "Not yet confirmed on disk. The points that confirmed hold it already.",
        tone: "watch",
      },
    response.applied &&
      response.durable === null && { text: "This store cannot say whether it is on disk.", tone: "watch" },
  ].filter(Boolean);
}

/** Return what an ApiError means for whoever pressed the button. */
export function failureWords(error) {
  if (error.status === 401) return "The daemon does not know this token any more. Sign out and in again.";
  if (error.status === 403) return "This token may only watch. Sign out and in with the kill token to act.";
  if (error.status === 0)
    return `It may or may not have been written: ${error.message}. Press again; twice does no harm.`;
  return `Not done: ${plain(error.message)}`;
}
