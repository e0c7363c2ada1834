// A group of alerts as the page holds it: made from the daemon's list or from the feed's messages, which say less. Pure.

const SEVERITIES = ["low", "medium", "high", "critical"];

/** Return where a severity stands, higher is worse; an unknown one is the worst: it must not be overlooked. */
export function rankOf(severity) {
  const rank = SEVERITIES.indexOf(severity);
  return rank < 0 ? SEVERITIES.length : rank;
}

/**
 * Return the group with one more alert, from a message of the feed. `known` is the group as it was, or undefined; then
 * the message may be about the hundredth of its alerts, and what it cannot say (the first alert, who has it) is
 * missing: `isPartial`.
 */
export function withAlert(known, { alert, group: ref, ts }) {
  const { id, count, state, muted_by: mutedBy } = ref ?? { id: alert.id, count: 1, state: "open", muted_by: null };
  const before = known ?? {
    id,
    alert,
    severity: alert.severity,
    count: 0,
    first_ts: ts,
    last_ts: ts,
    assignee: null,
    reason: null,
    comments: 0,
    changed_at: null,
    changed_by: null,
    isPartial: count > 1,
  };
  if (count <= before.count) return before; // we have it: the feed and the list overlap
  const severity = rankOf(alert.severity) > rankOf(before.severity) ? alert.severity : before.severity;
  return { ...before, severity, count, state, muted_by: mutedBy, last_ts: ts, last_alert_id: alert.id };
}

/** Return the group after somebody's change. */
export function withChange(group, change) {
  return {
    ...group,
    state: change.state,
    assignee: change.change === "assign" ? change.assignee : group.assignee,
    reason: change.state === "closed" ? (change.change === "close" ? change.reason : group.reason) : null,
    comments: group.comments + (change.comment === null || change.comment === undefined ? 0 : 1),
    changed_at: change.at,
    changed_by: change.by,
  };
}

/** Return the one of two states of a group that is the later one; what was fetched in full wins where both are equal. */
export function laterOf(held, fetched) {
  if (!held || held.isPartial) return held && held.count > fetched.count ? grown(fetched, held) : fetched;
  const isNewer = held.count > fetched.count || (held.changed_at ?? 0) > (fetched.changed_at ?? 0);
  return isNewer ? held : fetched;
}

function grown(fetched, { count, last_ts, last_alert_id, severity }) {
  const worst = rankOf(severity) > rankOf(fetched.severity) ? severity : fetched.severity;
  return { ...fetched, count, last_ts, last_alert_id, severity: worst };
}

/** Return the leading signal: what the daemon groups and mutes by; "" when the alert gives no reason. */
export function signalOf(group) {
  return group.alert?.reasons?.[0]?.signal ?? "";
}

// What the daemon refuses to mute: alerts about the kill switch itself. It has the last word.
const ABOUT_THE_SWITCH = new Set([
  "kill_refused",
  "store_damaged",
  "store_forged",
  "drill_failed",
  "break_glass",
  "record_damaged",
  "blast_radius",
]);

/** True when the alert is about the kill switch, not about an agent. */
export function isAboutTheSwitch({ verdict }) {
  return ABOUT_THE_SWITCH.has(verdict);
}

/** True when alerts like this one can be muted. */
export function canBeMuted(group) {
  return signalOf(group) !== "" && !isAboutTheSwitch(group.alert);
}

/** Newest first, for Array.sort: by the last alert. */
export function newestFirst(a, b) {
  if (a.last_ts !== b.last_ts) return a.last_ts < b.last_ts ? 1 : -1;
  return a.id < b.id ? 1 : -1;
}
