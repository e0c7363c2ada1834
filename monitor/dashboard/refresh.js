// What is not pushed is fetched: agents while they are looked at, revocations and points now and then, and after changes.

const AGENTS_EVERY_MS = 2_000;
const AGENTS_UNSEEN_EVERY_MS = 15_000;
const REVOCATIONS_EVERY_MS = 5_000;

/** Keeps a store filled from the HTTP interface while `isLive()`; at most one request per resource at a time. */
export class Refresher {
  #busy = new Set();
  #again = new Set();

  constructor(store, api, { isLive }) {
    this.store = store;
    this.api = api;
    this.isLive = isLive;
    setInterval(() => isAgentsShown() && this.#tick("agents"), AGENTS_EVERY_MS);
    setInterval(() => this.#tick("agents"), AGENTS_UNSEEN_EVERY_MS);
    setInterval(() => this.#tick("revocations"), REVOCATIONS_EVERY_MS);
    document.addEventListener("visibilitychange", () => this.#tick("agents", "revocations"));
  }

  /** Fetch these resources now, or once more when they are being fetched: "agents", "revocations", "mutes". */
  fetch(...names) {
    for (const name of names) {
      if (this.#busy.has(name)) this.#again.add(name);
      else this.#run(name);
    }
  }

  #tick(...names) {
    if (!this.isLive() || document.visibilityState !== "visible") return;
    for (const name of names) if (!this.#busy.has(name)) this.fetch(name);
  }

  async #run(name) {
    this.#busy.add(name);
    try {
      await this[name]();
    } catch {
      // Nothing is shown as new that is not: the connection's own state says that the daemon is gone.
    } finally {
      this.#busy.delete(name);
      if (this.#again.delete(name)) this.#run(name);
    }
  }

  async agents() {
    this.store.setAgents((await this.api.get("/v1/agents")).agents);
  }

  async mutes() {
    this.store.setMutes((await this.api.get("/v1/mutes")).mutes);
  }

  async revocations() {
    const before = this.store.transitionCount;
    const { revocations, points } = await this.api.get("/v1/revocations");
    // A change that came by the feed meanwhile is newer than this answer: ask again instead of showing the past.
    if (before !== this.store.transitionCount) this.#again.add("revocations");
    else this.store.setRevocations(revocations, points);
  }
}

function isAgentsShown() {
  return ["agents", "fleet"].includes(document.body.dataset.view ?? "");
}
