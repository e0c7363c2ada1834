// What the page knows. Everything is bounded; views subscribe to topics and are called at most once a beat.

// Security limit: alerts kept, and so shown. Older ones are in the daemon.
export const ALERTS_MAX = 500;
const TRANSITIONS_MAX = 200;
const EPOCHS_MAX = 64;
const BEAT_MS = 50;

/** The page's state. Topics: connection, status, alerts, agents, revocations, points, acks, view. */
export class Store {
  connection = { state: "connecting", sinceMs: Date.now(), retryAtMs: null };
  status = null;
  agents = new Map(); // agent_id → agent
  alerts = []; // newest first
  alertsDropped = 0; // beyond ALERTS_MAX since the page was opened
  revocations = new Map(); // target → record
  points = []; // enforcement points
  transitions = []; // newest last
  acks = new Map(); // epoch → Map(point, by id or by name → latency in ms)
  missed = null; // {from, to} that the daemon told us we missed
  onlyAgent = null; // alerts of this agent only
  alertCount = 0; // alerts that came by the feed
  transitionCount = 0; // transitions that came by the feed

  #ids = new Set();
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
    if (message.type === "alert") this.#alert(message.alert);
    else if (message.type === "transition") this.#transition(message.transition);
    else if (message.type === "acknowledgement") this.#acknowledge(message.acknowledgement);
    else if (message.type === "status") this.#status(message.status ?? {});
  }

  /**
   * Merge a list fetched from the daemon, newest first. `during`: how many alerts the feed brought while it was being
   * fetched: those that it lacks are newer than it, all others that it lacks are older. Order is order of arrival, not
   * of time stamps: an alert about a late action must not slip in where nobody looks.
   */
  mergeAlerts(list, during) {
    const fetched = list.filter((alert) => alert?.id);
    const ids = new Set(fetched.map((alert) => alert.id));
    const isMissing = (alert) => !ids.has(alert.id);
    this.#keep([
      ...this.alerts.slice(0, during).filter(isMissing),
      ...fetched,
      ...this.alerts.slice(during).filter(isMissing),
    ]);
  }

  #alert(alert) {
    if (!alert?.id || this.#ids.has(alert.id)) return;
    this.alertCount += 1;
    this.#keep([alert, ...this.alerts]);
  }

  #keep(alerts) {
    this.alertsDropped += Math.max(0, alerts.length - ALERTS_MAX);
    this.alerts = alerts.slice(0, ALERTS_MAX);
    this.#ids = new Set(this.alerts.map((alert) => alert.id));
    this.touch("alerts");
  }

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

  /** Forget everything that was read with a token. */
  clear() {
    this.status = null;
    this.missed = null;
    this.onlyAgent = null;
    this.alerts = [];
    this.alertsDropped = 0;
    this.#ids.clear();
    this.acks.clear();
    this.transitions = [];
    this.touch("status", "alerts", "acks", "view");
    this.setAgents([]);
    this.setRevocations([], []);
  }

  /** Note the state of the connection. */
  setConnection(state, retryAtMs) {
    const wasLive = this.connection.state === "live";
    const sinceMs = (state === "live") === wasLive ? this.connection.sinceMs : Date.now();
    this.connection = { state, retryAtMs, sinceMs };
    this.touch("connection");
  }

  /** Show the alerts of one agent only; null shows all. */
  showOnly(agentId) {
    this.onlyAgent = agentId;
    this.touch("view");
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
    if (status.missed) this.missed = status.missed;
    else this.status = status;
    this.touch("status");
  }
}
