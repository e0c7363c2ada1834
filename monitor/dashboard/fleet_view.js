// The fleet: how the daemon is, who is cut off, which points enforce it, how drills and deliveries went, and the switch
// that stops everything.

import { badge } from "./badge.js";
import { CutList } from "./cut_list.js";
import { el, setText, show } from "./dom.js";
import { deliveryCard, drillCard, pointItem, statusFacts, tile } from "./fleet_parts.js";
import { plain } from "./format.js";
import { icon } from "./icons.js";
import { Once } from "./once.js";
import { Polling } from "./polling.js";

const CUT_MAX = 200;
const POINTS_MAX = 200;
const DRILLS = 10;
const EVERY_MS = 5_000;
const KINDS = ["agent", "agent_version", "session", "human", "delegation", "credential", "tool", "tenant"];

/** The view at `#/fleet`. */
export class FleetView {
  #once = new Once();

  constructor(ctx, root) {
    this.ctx = ctx;
    this.root = root;
    this.polling = new Polling(
      () => this.#fetch(),
      EVERY_MS,
      (error) => this.#failed(error),
    );
    this.problem = el("p", { class: "problem", role: "alert", hidden: true });
    this.tiles = el("dl", { class: "tiles", id: "fleet-status" });
    this.ready = el("p", { id: "fleet-ready" });
    this.cutTitle = el("h3", {});
    this.cut = new CutList(ctx, { id: "cut-list", most: CUT_MAX });
    this.pointTitle = el("h3", {});
    this.pointList = el("ul", { class: "points", id: "points" });
    this.drillList = el("ul", { class: "cards", id: "drills" });
    this.routeList = el("ul", { class: "cards", id: "deliveries" });
    root.append(
      el("header", { class: "page-head" }, el("h2", {}, "Fleet")),
      this.problem,
      el("section", { class: "part", "aria-label": "Status" }, this.tiles, this.ready),
      ...(ctx.may("kill") ? [this.#target()] : []),
      el("section", { class: "part" }, this.cutTitle, this.cut.node),
      el("section", { class: "part" }, this.pointTitle, this.pointList),
      el("section", { class: "part" }, el("h3", {}, "Kill drills"), this.drillList),
      el("section", { class: "part" }, el("h3", {}, "Deliveries"), this.routeList),
    );
    ctx.store.watch(["revocations"], () => this.#drawCut());
    ctx.store.watch(["points"], () => this.#drawPoints());
    ctx.store.watch(["status"], () => this.#drawStatus());
  }

  show() {
    this.ctx.refresh("revocations");
    this.#drawCut();
    this.#drawPoints();
    this.#drawStatus();
    this.polling.start();
  }

  hide() {
    this.polling.stop();
  }

  // Anything can be killed by its name, also what no list shows.
  #target() {
    const options = KINDS.map((kind) => el("option", { value: kind }, kind.replace("_", " ")));
    const kind = el("select", { id: "target-kind", "aria-label": "Kind of target" }, ...options);
    const name = el("input", {
      type: "text",
      id: "target-name",
      "aria-label": "Name of the target",
      placeholder: "name",
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      maxlength: 600,
    });
    const open = (event) => {
      event.preventDefault();
      if (name.value.trim()) this.ctx.openPanel("kill", `${kind.value}:${name.value.trim()}`);
      else name.focus();
    };
    const one = el("button", { type: "submit", class: "button act kill" }, icon("kill"), "Kill …");
    const all = el(
      "button",
      {
        type: "button",
        class: "button act kill",
        id: "kill-fleet",
        "aria-haspopup": "dialog",
        on: { click: () => this.ctx.openPanel("kill", "fleet") },
      },
      icon("kill"),
      "Kill the whole fleet …",
    );
    const form = el("form", { class: "target-form", on: { submit: open } }, kind, name, one);
    return el("section", { class: "part fleet-acts", "aria-label": "Kill by name" }, form, all);
  }

  #drawCut() {
    if (this.root.hidden) return;
    const records = [...this.ctx.store.revocations.values()];
    this.cut.draw(records);
    setText(this.cutTitle, records.length ? `Cut off now: ${records.length}` : "Nothing is cut off");
  }

  #drawPoints() {
    if (this.root.hidden) return;
    const { points } = this.ctx.store;
    const live = points.filter((point) => point.live).length;
    const title = points.length
      ? `Enforcement points: ${live} of ${points.length} live`
      : "No enforcement point is connected: nothing would refuse a target that is killed";
    setText(this.pointTitle, title);
    const sorted = [...points].sort((a, b) => Number(a.live) - Number(b.live) || (a.name < b.name ? -1 : 1));
    this.pointList.replaceChildren(...sorted.slice(0, POINTS_MAX).map(pointItem));
  }

  #drawStatus() {
    if (this.root.hidden || !this.ctx.store.status) return;
    const { status } = this.ctx.store;
    const facts = statusFacts(status, Date.now());
    this.#once.draw(this.tiles, facts, () => facts.map(tile));
    const why = status.kill_ready ? null : plain(status.kill_ready_why, 400) || "no drill has shown it yet";
    show(this.ready, why !== null);
    this.#once.draw(this.ready, why, () => [badge("watch", "high", `A kill is not shown to work: ${why}.`)]);
  }

  async #fetch() {
    const { api } = this.ctx;
    const [{ drills }, { routes }] = await Promise.all([
      api.get(`/v1/drills?limit=${DRILLS}`),
      api.get("/v1/deliveries"),
    ]);
    show(this.problem, false);
    const none = (text) => [el("li", { class: "fine" }, text)];
    this.#once.draw(this.drillList, drills, () =>
      drills.length ? drills.map(drillCard) : none("No drill was run yet: killcord drill."),
    );
    this.#once.draw(this.routeList, routes, () =>
      routes.length
        ? routes.map((route) => deliveryCard(route, this.#test(route)))
        : none("Alerts are delivered nowhere: no route is configured."),
    );
  }

  #failed(error) {
    setText(this.problem, `Drills and deliveries are not up to date: ${plain(error.message)}.`);
    show(this.problem, true);
  }

  #test({ name }) {
    if (!this.ctx.may("triage")) return null;
    const button = el(
      "button",
      {
        type: "button",
        class: "button",
        "data-test": name,
        "aria-label": `Send a test through ${plain(name, 80)}`,
        on: { click: () => this.#sendTest(name, button) },
      },
      "Send a test",
    );
    return button;
  }

  async #sendTest(name, button) {
    button.disabled = true;
    try {
      const { delivered, error } = await this.ctx.api.post(
        `/v1/deliveries/${encodeURIComponent(name)}/test`,
        {},
      );
      if (delivered) this.ctx.tell(`${plain(name, 80)}: the test was delivered.`);
      else this.ctx.tell(`${plain(name, 80)}: not delivered: ${plain(error)}`, "bad");
    } catch (error) {
      this.ctx.tell(`${plain(name, 80)}: no test was sent: ${plain(error.message)}`, "bad");
    }
    button.disabled = false;
    this.polling.now();
  }
}
