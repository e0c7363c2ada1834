// What the page knows. Everything is bounded; views subscribe to topics and are called at most once a beat.

import { laterOf, newestFirst, signalOf, withAlert, withChange } from "./groups.js";

// Security limits. Groups kept: the newest, and besides those that are on the screen (at most as many).
export const GROUPS_MAX = 500;
const TRANSITIONS_MAX = 200;
const EPOCHS_MAX = 64;
const UNKNOWN_MAX = 200;
const MUTES_MAX = 10_000;
const BEAT_MS = 80;

/** The page's state. Topics: connection, status, alerts, agents, revocations, points, acks, mutes, missed. */
export class Store {
  connection = { state: "connecting", sinceMs: Date.now(), retryAtMs: null };
  status = null;
  agents = new Map(); // agent_id → agent
  groups = new Map(); // id → group of alerts, in no order; see groups.js
  next = null; // the cursor behind the oldest group that was fetched, null when there is none
  isListed = false; // the list for the filter in force has been fetched
  pinned = new Set(); // ids of groups that must stay: somebody looks at them
  unknown = new Set(); // ids of groups that changed and that we do not hold, or not in full
  mutes = new Map(); // id → mute in force
  revocations = new Map(); // target → record
  points = []; // enforcement points
  transitions = []; // newest last
  acks = new Map(); // epoch → Map(point, by id or by name → latency in ms)
  missed = null; // {count, from, to} of alerts that the daemon told us we missed
  alertCount = 0; // new alerts that came by the feed
  transitionCount = 0; // transitions that came by the feed

  #views = [];
  #dirty = new Set();
  #timer = 0;

  /** Call `view` soon after any of these topics changed. */
  watch(topics, view) {
    this.#views.push({ topics, view });
  }

  /** Mark topics as changed. */
  touch(...topics) {
    for (const topic of topics) this.#dirty.add(topic);
    // A timer, not an animation frame: a hidden tab has no frames and must still know that the connection is lost.
    this.#timer ||= setTimeout(() => this.#beat(), BEAT_MS);
  }

  #beat() {
    this.#timer = 0;
    const dirty = this.#dirty;
    this.#dirty = new Set();
    for (const { topics, view } of this.#views) if (topics.some((topic) => dirty.has(topic))) view();
  }

  /** Apply one message of the feed. */
  receive(message) {
    if (message.type === "alert") this.#alert(message);
    else if (message.type === "alert_change") this.#change(message.alert_change);
    else if (message.type === "mute") this.#mute(message.mute);
    else if (message.type === "transition") this.#transition(message.transition);
    else if (message.type === "acknowledgement") this.#acknowledge(message.acknowledgement);
    else if (message.type === "status") this.#status(message.status ?? {});
  }

  // -- groups of alerts ---------------------------------------------------------------------------------------------

  /**
   * Replace the groups by a fetched list. What somebody looks at stays, even if it is not in the list, unless the list is
   * another filter's. What was heard of a group while the list was on its way is not lost.
   */
  setGroups(list, next, { isOther = false } = {}) {
    const kept = new Map(isOther ? [] : [...this.groups].filter(([id]) => this.pinned.has(id)));
    for (const group of list) kept.set(group.id, laterOf(this.groups.get(group.id), group));
    this.groups = kept;
    this.next = next;
    this.isListed = true;
    if (isOther) this.setMissed(null);
    this.touch("alerts");
  }

  /** Add fetched groups to those that are held. */
  addGroups(list) {
    for (const group of list) {
      this.groups.set(group.id, laterOf(this.groups.get(group.id), group));
      this.unknown.delete(group.id);
    }
    this.touch("alerts");
  }

  /** Return the groups, newest first. */
  sortedGroups() {
    return [...this.groups.values()].sort(newestFirst);
  }

  #alert(message) {
    if (!message.alert?.id) return;
    const id = message.group?.id ?? message.alert.id;
    const known = this.groups.get(id);
    const group = withAlert(known, message);
    if (group === known) return;
    this.alertCount += 1;
    this.groups.set(id, group);
    if (group.isPartial) this.#note(id);
    if (this.groups.size > GROUPS_MAX + this.pinned.size + GROUPS_MAX / 2) this.#trim();
    this.touch("alerts");
  }

  // Now and then, not with each alert: sorting is the dear part.
  #trim() {
    const sorted = this.sortedGroups();
    for (const { id } of sorted.slice(GROUPS_MAX)) if (!this.pinned.has(id)) this.groups.delete(id);
    this.next = null; // what lies behind the oldest is not known any more; a new list says it
  }

  #change(change) {
    const known = this.groups.get(change?.id);
    if (known) this.groups.set(known.id, withChange(known, change));
    else if (change?.id) this.#note(change.id);
    this.touch("alerts");
  }

  #note(id) {
    if (this.unknown.size < UNKNOWN_MAX) this.unknown.add(id);
  }

  // -- mutes --------------------------------------------------------------------------------------------------------

  /** Replace the mutes in force. */
  setMutes(mutes) {
    this.mutes = new Map(mutes.slice(0, MUTES_MAX).map((mute) => [mute.id, mute]));
    this.touch("mutes", "alerts");
  }

  /** Drop mutes that have ended; true when there were any. */
  endMutes(nowMs) {
    const ended = [...this.mutes.values()].filter((mute) => mute.until * 1000 <= nowMs);
    for (const mute of ended) this.#unmute(mute);
    if (ended.length) this.touch("mutes", "alerts");
    return ended.length > 0;
  }

  #mute(mute) {
    if (!mute?.id) return;
    if (mute.change === "lifted") {
      this.#unmute(mute);
    } else if (this.mutes.size < MUTES_MAX) {
      this.mutes.set(mute.id, mute);
      this.#markGroups(mute, mute.id);
    }
    this.touch("mutes", "alerts");
  }

  #unmute(mute) {
    this.mutes.delete(mute.id);
    this.#markGroups(mute, null);
  }

  #markGroups({ agent_id: agentId, signal }, mutedBy) {
    for (const [id, group] of this.groups)
      if (group.alert?.agent_id === agentId && signalOf(group) === signal)
        this.groups.set(id, { ...group, muted_by: mutedBy });
  }

  // -- agents and what is cut off -----------------------------------------------------------------------------------

  /** Replace the agents. */
  setAgents(agents) {
    this.agents = new Map(agents.map((agent) => [agent.agent_id, agent]));
    this.touch("agents");
  }

  /** Replace revocations and enforcement points. */
  setRevocations(revocations, points) {
    this.revocations = new Map(revocations.map((record) => [record.target, record]));
    this.points = points;
    this.touch("revocations", "points");
  }

  /** Note the state of the connection. */
  setConnection(state, retryAtMs) {
    const wasLive = this.connection.state === "live";
    const sinceMs = (state === "live") === wasLive ? this.connection.sinceMs : Date.now();
    this.connection = { state, retryAtMs, sinceMs };
    this.touch("connection");
  }

  /** Return the revocation that stops this agent, or null: its own, its version's, or the fleet's. */
  revocationOf(agent) {
    return (
      this.revocations.get(`agent:${agent.agent_id}`) ??
      this.revocations.get(`agent_version:${agent.agent_id}@${agent.version}`) ??
      this.revocations.get("fleet") ??
      null
    );
  }

  /** Note that alerts of these numbers were left out because this page was too slow; null: they are seen to. */
  setMissed(span) {
    if (span === null) this.missed = null;
    else this.missed = { from: Math.min(span.from, this.missed?.from ?? Infinity), to: span.to };
    this.touch("missed");
  }

  #transition(transition) {
    if (!transition?.target || transition.drill) return; // a drill's canary is nobody
    this.transitionCount += 1;
    this.transitions.push(transition);
    this.transitions.splice(0, this.transitions.length - TRANSITIONS_MAX);
    const ends = transition.kind === "restore" || transition.kind === "expire";
    if (ends) this.revocations.delete(transition.target);
    else this.revocations.set(transition.target, transition);
    this.touch("revocations");
  }

  #acknowledge({ epoch, point, point_id: id = point, latency_ms: latencyMs } = {}) {
    if (!Number.isSafeInteger(epoch) || typeof id !== "string") return;
    if (!this.acks.has(epoch)) this.acks.set(epoch, new Map());
    this.acks.get(epoch).set(id, latencyMs);
    while (this.acks.size > EPOCHS_MAX) this.acks.delete(this.acks.keys().next().value);
    this.touch("acks");
  }

  #status(status) {
    if (status.missed || status.reset) return; // the connection sees to those
    this.status = status;
    this.touch("status");
  }
}
