// What is not pushed is fetched: agents every two seconds, revocations and points now and then and after each change.

import { read } from "./api.js";

const AGENTS_EVERY_MS = 2_000;
const REVOCATIONS_EVERY_MS = 5_000;
const ALERTS_AT_START = 200;

/** Keeps a store filled from the HTTP interface while `isLive()`; at most one request per resource at a time. */
export class Refresher {
  #busy = new Set();
  #again = new Set();

  constructor(store, { isLive, onError }) {
    this.store = store;
    this.isLive = isLive;
    this.onError = onError;
    setInterval(() => this.#tick(["agents"]), AGENTS_EVERY_MS);
    setInterval(() => this.#tick(["revocations"]), REVOCATIONS_EVERY_MS);
  }

  /** Fetch everything: after connecting, and after the daemon said that we missed something. */
  all() {
    this.fetch("agents", "alerts", "revocations");
  }

  /** Fetch these resources now, or once more when they are being fetched. */
  fetch(...names) {
    for (const name of names) {
      if (this.#busy.has(name)) this.#again.add(name);
      else this.#run(name);
    }
  }

  #tick(names) {
    if (this.isLive() && document.visibilityState === "visible")
      for (const name of names) if (!this.#busy.has(name)) this.fetch(name);
  }

  async #run(name) {
    this.#busy.add(name);
    try {
      await this[name]();
    } catch (error) {
      this.onError(error);
    } finally {
      this.#busy.delete(name);
      if (this.#again.delete(name)) this.#run(name);
    }
  }

  async agents() {
    this.store.setAgents((await read("/v1/agents")).agents);
  }

  async alerts() {
    const before = this.store.alertCount;
    const { alerts } = await read(`/v1/alerts?limit=${ALERTS_AT_START}`);
    this.store.mergeAlerts(alerts.map(({ alert }) => alert), this.store.alertCount - before);
  }

  async revocations() {
    const before = this.store.transitionCount;
    const { revocations, points } = await read("/v1/revocations");
    // A change that came by the feed meanwhile is newer than this answer: ask again instead of showing the past.
    if (before !== this.store.transitionCount) this.#again.add("revocations");
    else this.store.setRevocations(revocations, points);
  }
}
