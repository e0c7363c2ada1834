// What keeps the store live: two connections of the feed, and the lists that are fetched beside them.
//
// One connection brings everything but alerts: changes, mutes, transitions, confirmations. It is there whatever the
// person filters for, because a kill must be seen in any view. The other brings alerts, with the person's filter, which
// the daemon applies: a page that shows one agent is not sent ten thousand others.
//
// A new filter costs nothing and loses nothing: the list is fetched, and the alerts' connection resumes from where the
// first connection stood before that. What both bring is the same group with the same count.

import { Feed } from "./feed.js";

const LIST_LIMIT = 200;
const MISSED_LIMIT = 1000;
const MISSED_PAGES = 20;
const LOOK_UP_EVERY_MS = 1_000;
const LOOK_UP_MAX = 50;

/** Keeps a store live. `onNews(...names)` says what else should be fetched: "revocations", "agents". */
export class LiveFeed {
  onNews = () => {};
  /** The filter in force, as sent to the daemon. */
  filter = null;
  /** What the daemon finds wrong with the filter that was asked for, or null. */
  problem = null;

  #asked = ""; // the newest filter that was asked for
  #asking = 0;
  #wasLive = false;

  /** @param {{store: import("./store.js").Store, api: import("./api.js").Api}} options */
  constructor({ store, api }) {
    this.store = store;
    this.api = api;
    const onState = () => this.#connection();
    this.control = new Feed({
      filter: "-type:alert",
      hasSnapshot: true,
      onMessage: (message) => this.#heard(message),
      onState,
      onRefused: () => this.#whoAmI(),
    });
    this.alerts = new Feed({
      filter: "type:alert",
      onMessage: (message) => this.#alert(message),
      onState,
      onRefused: () => this.#whoAmI(),
    });
    setInterval(() => this.#lookUp(), LOOK_UP_EVERY_MS);
    setInterval(() => this.store.endMutes(Date.now()) && this.refetch(), LOOK_UP_EVERY_MS);
  }

  /** Connect, or connect now instead of at the next attempt. */
  start() {
    this.control.start();
    if (this.filter !== null) this.alerts.start();
  }

  /** Close both connections. */
  stop() {
    this.control.stop();
    this.alerts.stop();
  }

  /** Follow another filter: fetch its list, then its feed. */
  ask(filter) {
    if (filter === this.#asked && (this.filter === filter || this.#asking)) return;
    this.#asked = filter;
    if (this.control.seq !== null) this.#follow();
  }

  /** Fetch the list anew: it may have changed in a way that the feed does not tell. */
  refetch() {
    if (this.control.seq !== null) this.#follow();
  }

  /** Fetch the next older groups; returns how many there were. */
  async older(limit) {
    const { store, filter } = this;
    if (store.next === null) return 0;
    const { alerts, next } = await this.api.get(this.#listPath(filter, limit, store.next));
    if (filter !== this.filter) return 0; // another filter is in force since
    store.addGroups(alerts);
    store.next = next;
    return alerts.length;
  }

  /** Fetch the alerts that this page was too slow for; returns how many messages there were. */
  async fetchMissed() {
    const { missed } = this.store;
    if (!missed) return 0;
    let [from, fetched] = [missed.from, 0];
    for (let page = 0; page < MISSED_PAGES && from !== null; page += 1) {
      const query = new URLSearchParams({ from, to: missed.to, filter: this.alerts.filter, limit: MISSED_LIMIT });
      const { messages, next } = await this.api.get(`/v1/feed/messages?${query}`);
      for (const message of messages) this.store.receive(message);
      fetched += messages.length;
      from = next;
    }
    this.store.setMissed(from === null ? null : { from, to: missed.to });
    return fetched;
  }

  async #follow() {
    const filter = this.#asked;
    const turn = (this.#asking += 1);
    const since = this.control.seq;
    try {
      const { alerts, next } = await this.api.get(this.#listPath(filter, LIST_LIMIT));
      if (turn !== this.#asking) return; // a newer one is on its way
      const isOther = filter !== this.filter;
      this.filter = filter;
      this.problem = null;
      this.store.setGroups(alerts, next, { isOther });
      if (isOther) this.#reconnect(since);
    } catch (error) {
      if (turn !== this.#asking) return;
      // Without an answer there is nothing to show; the next heartbeat asks again.
      this.problem = error.status === 422 ? error.message : null;
    }
    this.#asking = 0;
    this.store.touch("alerts");
  }

  #reconnect(since) {
    this.alerts.filter = `${this.filter} type:alert`.trim();
    this.alerts.seq = since;
    this.alerts.start();
  }

  #listPath(filter, limit, before = null) {
    const query = new URLSearchParams({ filter, limit: String(limit) });
    if (before !== null) query.set("before", String(before));
    return `/v1/alerts?${query}`;
  }

  #heard(message) {
    if (message.type === "snapshot") {
      this.store.setMutes(message.snapshot?.mutes ?? []);
      this.#follow();
      return;
    }
    this.store.receive(message);
    if (message.type === "transition") this.onNews("agents", "revocations");
    if (message.type === "mute") this.refetch(); // a list that is on its way may be older than this
    if (message.type === "status") this.#status(message.status ?? {});
  }

  #status({ missed, reset, points_live: live }) {
    if (missed || reset) {
      // What this connection brings is state: the lists say it all.
      this.onNews("agents", "revocations", "mutes");
      this.refetch();
    } else if (live !== this.store.points.filter((point) => point.live).length) {
      // Points come and go without a message of their own; a kill panel must not count on those that are gone.
      this.onNews("revocations");
    }
    const isBehind = !this.store.isListed || (this.filter !== this.#asked && this.problem === null);
    if (isBehind && !this.#asking) this.#follow(); // it could not be fetched before
  }

  #alert(message) {
    if (message.type === "alert") this.store.receive(message);
    if (message.type !== "status") return;
    const { missed, reset } = message.status ?? {};
    if (missed) this.store.setMissed(missed);
    if (missed || reset) this.refetch();
  }

  // Groups that changed and that we do not hold: they may match now (somebody reopened one), or be known in part only.
  async #lookUp() {
    const ids = [...this.store.unknown].slice(0, LOOK_UP_MAX);
    if (!ids.length || this.filter === null || this.store.connection.state !== "live") return;
    for (const id of ids) this.store.unknown.delete(id);
    const filter = `${this.filter} id:${ids.map((id) => `"${id.replaceAll('"', "")}"`).join(",")}`.trim();
    const asked = this.filter;
    const found = await this.api.get(this.#listPath(filter, LOOK_UP_MAX)).catch(() => null);
    if (found && asked === this.filter) this.store.addGroups(found.alerts);
    else for (const id of ids) this.store.unknown.add(id); // the next look asks again
  }

  #connection() {
    const feeds = this.filter === null ? [this.control] : [this.control, this.alerts];
    const retrying = feeds.filter((feed) => feed.state === "retrying");
    const isLive = feeds.every((feed) => feed.state === "live");
    const retryAtMs = retrying.length ? Math.min(...retrying.map((feed) => feed.retryAtMs)) : null;
    // While it tries again it is still lost: "connecting" for a moment in between would only flicker.
    const state = isLive ? "live" : retrying.length ? "retrying" : "connecting";
    this.store.setConnection(state, retryAtMs);
    if (isLive && !this.#wasLive) this.onNews("agents", "revocations", "mutes");
    this.#wasLive = isLive;
  }

  // A socket's refusal has no words a page could read; a request has.
  #whoAmI() {
    this.api.get("/v1/session").catch(() => null);
  }
}
