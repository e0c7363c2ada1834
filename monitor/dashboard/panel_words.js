// What the panel says: before an act what it will do, after it what came of it. Pure.

import { ago, clock, count, ms, names, plain, plural } from "./format.js";
import { parted } from "./targets.js";
import { levelWords, revocationWords } from "./words.js";

/** The levels of a kill, strongest first: the daemon's word, ours, and what it means. */
export const LEVELS = [
  { level: "revoke", text: "Revoke", says: "Refused until somebody restores it." },
  { level: "suspend", text: "Suspend", says: "Refused until a time that you set, then free again." },
  { level: "step_up", text: "Hold", says: "Held until a human restores it; meant for “let us look first”." },
];

const LEASE_ENDS = "A point that cannot hear us refuses everything by itself when its lease runs out.";
const OBVIOUS = new Set(["revoked", "suspended", "held for approval", "restored"]); // what the verdict says already
const HOUR_S = 3600;
const NAMED_MAX = 8; // points in a sentence; the list below has all

/** For how long a suspension may be set. */
export const DURATIONS = [
  { seconds: HOUR_S / 4, text: "15 minutes" },
  { seconds: HOUR_S, text: "1 hour" },
  { seconds: 8 * HOUR_S, text: "8 hours" },
  { seconds: 24 * HOUR_S, text: "1 day" },
  { seconds: 7 * 24 * HOUR_S, text: "7 days" },
];

const TAKES_HOLD = {
  revoke: (live) =>
    `${live === 1 ? "refuses" : "refuse"} its next call within milliseconds, and ` +
    `${live === 1 ? "cancels" : "cancel"} the running one where it is watched.`,
  suspend: (live) =>
    `${live === 1 ? "refuses" : "refuse"} its next call within milliseconds, until the time is over.`,
  step_up: (live) => `${live === 1 ? "lets" : "let"} nothing more through that a human has not agreed to.`,
};

function pointsSentence(live, doing) {
  if (live === 0)
    return {
      text: "No enforcement point is connected: it is written down, but nothing refuses the target yet.",
      tone: "bad",
    };
  return { text: `${plural(live, "live enforcement point")} ${doing}` };
}

/**
 * Return what a kill will do, as [{text, tone?}]. `points`: {live, total}, or null while it is not known.
 * `record`: the revocation in force, or undefined.
 */
export function killEffects({ target, level, points, durationText, record, nowMs }) {
  const silent = points ? points.total - points.live : 0;
  const isTimed = level === "suspend";
  return [
    record && {
      text: `It is cut off already. ${recordWords(record, nowMs)}`,
      tone: "watch",
    },
    points && pointsSentence(points.live, TAKES_HOLD[level](points.live)),
    silent > 0 && {
      text: `${plural(silent, "point")} cannot be heard. ${LEASE_ENDS}`,
      tone: "watch",
    },
    parted(target).kind === "fleet" && { text: "This stops every agent of every tenant.", tone: "bad" },
    {
      text: isTimed
        ? `It is free again by itself after ${durationText}, or when somebody restores it.`
        : "It stays cut off until somebody restores it.",
    },
  ].filter(Boolean);
}

function recordWords(record, nowMs) {
  return `${levelWords(record.level).text} ${revocationWords(record, nowMs)}: ${plain(record.reason)}`;
}

/** Return what restoring will do, as [{text, tone?}]. `record`: the revocation in force, or undefined. */
export function restoreEffects({ record, points, nowMs }) {
  const live = points?.live;
  return [
    record && { text: recordWords(record, nowMs) },
    points && pointsSentence(live, `${live === 1 ? "lets" : "let"} it act again, at once.`),
    { text: "If it goes on as before, its next strange action can cut it off again." },
  ].filter(Boolean);
}

/** Return {tone, icon, text} for the answer of the daemon and what the feed has brought since. */
export function verdictOf(mode, response, state) {
  const figure = `${count(state.confirmed)}/${count(state.total)}`;
  const done = mode === "kill" ? "Enforced" : "Restored:";
  if (!response.applied && !response.pending)
    return {
      tone: "watch",
      icon: "check",
      text: mode === "kill" ? "No change: it was cut off already" : "No change: it was not cut off",
    };
  if (response.pending && state.total === 0)
    return { tone: "watch", icon: "hold", text: "Kept in the journal: the store does not answer" };
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

/** Return when a point was last heard, `sinceMs` after the daemon told its age. */
export function heardWords(point, sinceMs = 0) {
  if (!Number.isFinite(point?.age_s)) return "not heard";
  const ageS = point.age_s + sinceMs / 1000;
  return ageS < 2 ? "heard just now" : `last heard ${ago(-ageS, 0)} ago`;
}

/**
 * Return what else there is to know about the answer, as [{text, tone?}]. `silent`: the labels of points that were not
 * heard before it was sent. `heard(label)`: when that point was last heard, in words.
 */
export function notesOf(response, { missing }, silent, heard) {
  const named = (labels) =>
    names(
      labels.map((label) => `${label}, ${heard(label)}`),
      NAMED_MAX,
    );
  return [
    response.note && !OBVIOUS.has(response.note) && { text: plain(response.note) },
    missing.length > 0 && { text: `Not confirmed by ${named(missing)}. ${LEASE_ENDS}`, tone: "bad" },
    silent.length > 0 && {
      text: `Silent since before it was sent: ${named(silent)}. ${LEASE_ENDS}`,
      tone: "watch",
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
  if (error.status === 401) return "Your session has ended. Sign in again; nothing was sent.";
  if (error.status === 403) return `You may not do this: ${plain(error.message)}`;
  if (error.status === 0)
    return `It may or may not have been written: ${error.message}. Press again; twice does no harm.`;
  return `Not done: ${plain(error.message)}`;
}

/** Return {icon, tone, text} for a change of the past, as the history shows it. */
export function changeWords({ kind, level, previous_level: previous }, nowMs, expiresAt = null) {
  if (kind === "restore")
    return { icon: "restore", tone: "ok", text: previous ? "Restored" : "Restored, though free" };
  if (kind === "expire") return { icon: "restore", tone: "calm", text: "Ran out" };
  const { icon, text } = levelWords(level ?? kind);
  return { icon, tone: "cut", text: expiresAt ? `${text} until ${clock(expiresAt, nowMs)}` : text };
}
