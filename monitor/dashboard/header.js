// The top line and the banners: is what I see alive, is the fleet covered, may the machine kill?

import { byId, el, setAttr, setText, show } from "./dom.js";
import { clock, count, plain, plural, rate } from "./format.js";
import { icon } from "./icons.js";

const CONNECTION = {
  live: { icon: "live", tone: "ok", text: () => "Live" },
  connecting: { icon: "retry", tone: "watch", text: () => "Connecting …" },
  retrying: { icon: "retry", tone: "bad", text: (seconds) => `Reconnecting in ${seconds} s` },
};

const MODES = {
  enforce: "Enforce",
  alert: "Alert only",
  observe: "Observe only",
};

// Ready is what the last drill has shown; how soon the slowest point refused says more than the word.
function readyWords({ kill_ready: isReady, last_drill: drill }) {
  if (isReady === undefined) return "–";
  return isReady ? `${(drill?.max_ms ?? 0).toFixed(1)} ms` : "not shown";
}

/** Draws the header and the banners. */
export class Header {
  #stats = new Map();
  #banners = new Map();

  constructor(ctx) {
    const { store } = ctx;
    this.ctx = ctx;
    this.store = store;
    setText(byId("who-name"), plain(ctx.me.name, 60));
    setText(byId("who-role"), plain(ctx.me.role, 30));
    store.watch(["connection"], () => this.#connection());
    store.watch(["connection", "status", "points", "revocations"], () => this.#drawStats());
    store.watch(["connection", "status", "missed"], () => this.#drawBanners());
    setInterval(() => store.connection.state === "retrying" && this.#connection(), 500); // the count-down
  }

  #connection() {
    const { state, retryAtMs } = this.store.connection;
    const { icon: name, tone, text } = CONNECTION[state];
    const pill = byId("connection");
    if (pill.dataset.state !== state) {
      pill.replaceChildren(icon(name), el("span", {}));
      pill.dataset.state = state;
      setAttr(pill, "data-tone", tone);
    }
    setText(pill.lastElementChild, text(Math.max(0, Math.ceil(((retryAtMs ?? 0) - Date.now()) / 1000))));
    document.title = state === "live" ? "Killcord" : "(not connected) Killcord";
    setAttr(document.body, "data-connection", state);
  }

  #drawStats() {
    const status = this.store.status ?? {};
    const cut = this.store.revocations.size;
    const uncovered = status.points_total > 0 && status.points_live < status.points_total;
    this.#stat(
      "mode",
      "Automatic",
      status.kills_paused ? "Paused" : (MODES[status.mode] ?? "–"),
      status.kills_paused ? "bad" : "",
    );
    this.#stat("rate", "Actions/s", rate(status.actions_per_s));
    this.#stat("actions", "Actions", count(status.actions));
    this.#stat("calibrated", "Calibrated", `${count(status.calibrated)}/${count(status.agents)}`);
    this.#stat(
      "points",
      "Points live",
      `${count(status.points_live)}/${count(status.points_total)}`,
      uncovered ? "watch" : "",
    );
    this.#stat("ready", "Kill ready", readyWords(status), status.kill_ready === false ? "watch" : "");
    this.#stat("cut", "Cut off", count(cut), cut ? "bad" : "");
    this.#stat("backlog", "Backlog", count(status.backlog), status.backlog > 1000 ? "watch" : "");
  }

  #stat(key, label, value, tone = "") {
    if (!this.#stats.has(key)) {
      const figure = el("dd", {});
      byId("stats").append(el("div", { class: "stat", "data-stat": key }, el("dt", {}, label), figure));
      this.#stats.set(key, figure);
    }
    setText(this.#stats.get(key), value);
    setAttr(this.#stats.get(key), "data-tone", tone || null);
  }

  #drawBanners() {
    const { connection, status, missed } = this.store;
    const since = clock(connection.sinceMs / 1000, Date.now());
    const isLost = connection.state !== "live" && status !== null;
    this.#banner(
      "lost",
      isLost &&
        `Not connected since ${since}. What you see below is from then; kills from this page may not get through.`,
      "bad",
      "Connect now",
    );
    this.#banner(
      "redis",
      status?.redis === "unreachable" &&
        "The daemon cannot reach Redis: a kill cannot be confirmed now. Enforcement points refuse everything by themselves when their lease runs out.",
      "bad",
    );
    this.#banner(
      "paused",
      status?.kills_paused &&
        "Automatic kills are paused by the blast-radius guard: too many in a short time. Look at the alerts and kill by hand; manual kills are never limited.",
      "watch",
    );
    this.#banner(
      "drill",
      status?.last_drill?.verdict === "failed" &&
        `A kill may not be enforced everywhere: ${plain(status.kill_ready_why, 300) || "the last drill failed"}.`,
      "bad",
    );
    this.#banner("missed", missed && missedWords(missed), "watch", "Fetch them");
  }

  #banner(key, text, tone, button = null) {
    if (!this.#banners.has(key)) {
      if (!text) return;
      const node = el(
        "p",
        { class: "banner", "data-tone": tone, "data-banner": key },
        icon(tone === "bad" ? "critical" : "high"),
        el("span", {}),
      );
      if (button)
        node.append(
          el(
            "button",
            { type: "button", class: "button quiet", on: { click: () => this.#answer(key) } },
            button,
          ),
        );
      byId("banners").append(node);
      this.#banners.set(key, node);
    }
    const node = this.#banners.get(key);
    show(node, Boolean(text));
    if (text) setText(node.children[1], text);
  }

  async #answer(key) {
    const { live, tell } = this.ctx;
    if (key === "lost") return live.start();
    try {
      const found = await live.fetchMissed();
      tell(`${plural(found, "alert")} fetched.`);
    } catch (error) {
      tell(`They could not be fetched: ${plain(error.message)}.`, "bad");
    }
  }
}

function missedWords({ from, to }) {
  const n = to - from + 1;
  return `This page was too slow: you missed up to ${plural(n, "message")} (${from} to ${to}). The list is up to date.`;
}
