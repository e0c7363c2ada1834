// What the daemon's words look like: severity, level, response and risk, each with an icon, a tone and plain English.

import { clock, count, plain } from "./format.js";

const SEVERITY = {
  critical: { icon: "critical", tone: "critical", text: "Critical" },
  high: { icon: "high", tone: "high", text: "High" },
  medium: { icon: "medium", tone: "medium", text: "Medium" },
  low: { icon: "low", tone: "low", text: "Low" },
};

/** Return {icon, tone, text} for a severity; an unknown one is shown as what it says, loudly. */
export function severityWords(severity) {
  return SEVERITY[severity] ?? { icon: "high", tone: "high", text: plain(severity, 20) || "Unknown" };
}

const VERDICT = {
  anomalous: "strange for this agent",
  malfunction: "looks broken",
  drift: "has changed",
  attribution: "acts for whom?",
  blast_radius: "blast-radius guard",
  break_glass: "break-glass was used",
  record_damaged: "the record was damaged",
  drill_failed: "kill drill failed",
  kill_refused: "kill not carried out",
  store_damaged: "revocations were lost",
  store_forged: "revocations nobody signed",
};

/** Return what a detector's verdict means. */
export function verdictWords(verdict) {
  return VERDICT[verdict] ?? plain(verdict, 40);
}

const LEVEL = {
  revoke: { icon: "cut", text: "Revoked", rank: 3 },
  suspend: { icon: "pause", text: "Suspended", rank: 2 },
  step_up: { icon: "hold", text: "Held for a human", rank: 1 },
};

/** Return {icon, text, rank} for the level of a revocation. */
export function levelWords(level) {
  return LEVEL[level] ?? { icon: "cut", text: plain(level, 20) || "Cut off", rank: 3 };
}

/** Return one line about a revocation: who, when, until when. */
export function revocationWords(record, nowMs) {
  const until = record.expires_at ? `, until ${clock(record.expires_at, nowMs)}` : "";
  return `by ${plain(record.by, 60) || "unknown"} at ${clock(record.at, nowMs)}${until}`;
}

const DONE = {
  revoke: "Revoked automatically",
  suspend: "Suspended automatically",
  step_up: "Held for a human",
  alert: "Alert only",
};
const WANTED = { revoke: "revoked", suspend: "suspended", step_up: "held for a human" };

/** Return {icon, tone, text} for what the policy did, and what it would have done in another mode. */
export function responseWords(response) {
  const { wanted, taken } = response ?? {};
  if (taken && taken !== "alert")
    return { icon: levelWords(taken).icon, tone: "cut", text: DONE[taken] ?? plain(taken, 20) };
  if (WANTED[wanted])
    return { icon: "eye", tone: "watch", text: `Not stopped; would have been ${WANTED[wanted]}` };
  return { icon: "bell", tone: "calm", text: DONE.alert };
}

/** Return {tone, text} for a risk, which is −log₁₀ p of the recent worst. The steps are ours, for the eye only. */
export function riskWords(risk) {
  if (!Number.isFinite(risk)) return { tone: "none", text: "no score" };
  if (risk >= 6) return { tone: "critical", text: "very strange" };
  if (risk >= 4) return { tone: "high", text: "strange" };
  return risk >= 2.5 ? { tone: "medium", text: "unusual" } : { tone: "calm", text: "usual" };
}

/** Return {icon, tone, text} for what an agent's model knows. */
export function modelWords({ state, seen, needed }) {
  if (state === "calibrated") return { icon: "check", tone: "calm", text: "Calibrated" };
  const progress = Number.isFinite(needed) ? ` ${count(Math.min(seen, needed))}/${count(needed)}` : "";
  return { icon: "learn", tone: "watch", text: `${state === "recalibrating" ? "Relearning" : "Learning"}${progress}` };
}
