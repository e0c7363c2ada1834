// The alerts: a list of groups, newest first, that stands still while somebody works in it, and the drawer over it.

import { Acts } from "./acts.js";
import { AlertRow } from "./alert_row.js";
import { BulkBar } from "./bulk_bar.js";
import { ChangeDialog } from "./change_dialog.js";
import { el, place, setAttr, setText, show } from "./dom.js";
import { Drawer } from "./drawer.js";
import { FilterBar } from "./filter_bar.js";
import { effective, passesStates, termFor, withTerm } from "./filter_terms.js";
import { count, plural } from "./format.js";
import { canBeMuted, signalOf } from "./groups.js";
import { holder } from "./hold.js";
import { hashOf } from "./router.js";
import { GROUPS_MAX } from "./store.js";

const AGES_EVERY_MS = 5_000;
const MORE = 100;

/** The view at `#/alerts` and `#/alerts/ID`. */
export class AlertsView {
  #text = ""; // the filter as it stands in the address
  #openId = null;
  #rows = new Map();
  #shown = []; // ids, in the order of the list
  #selected = new Set();
  #currentId = null; // where j and k go on from
  #stood = 0; // its place in the list: the next one moves up there when it leaves
  #isPaused = false;
  #countAtRest = 0; // how many alerts had come when the list began to stand still
  #rest = new Set(); // ids at that moment

  constructor(ctx, root) {
    this.ctx = ctx;
    this.root = root;
    this.acts = new Acts(ctx);
    this.dialog = new ChangeDialog(ctx, this.acts);
    this.bar = new FilterBar({ onFilter: (text) => this.#filter(text), onPause: () => this.pause() });
    this.bulk = new BulkBar({
      onChange: (change) => this.#bulk(change),
      onClear: () => this.#clear(),
      onAll: () => this.#selectAll(),
    });
    this.drawer = new Drawer(ctx, this);
    this.#build();
    this.isHeld = holder(this.list, () => this.draw(), [this.held]);
    ctx.store.watch(["alerts", "missed", "connection"], () => this.draw());
    ctx.store.watch(["agents", "revocations"], () => this.#drawActs());
    ctx.keys.of(root, this.#keys());
    setInterval(() => this.#drawAges(), AGES_EVERY_MS);
    this.acts.onDone = () => this.drawer.refetch();
  }

  /** Show the list for the filter in the address, and the drawer if an alert is named. */
  show({ id, query }) {
    const text = query.get("filter") ?? "";
    const isOther = text !== this.#text;
    this.#text = text;
    if (isOther) this.#clear();
    this.ctx.live.ask(effective(text));
    this.#openId = id;
    if (id === null) this.drawer.close();
    else this.drawer.open(id);
    setAttr(this.root, "data-drawer", id === null ? null : "open");
    this.#settle();
  }

  /** Another view is in front. */
  hide() {
    this.drawer.close();
  }

  /** Bring the list up to date. */
  draw() {
    if (this.root.hidden) return;
    const wanted = this.#wanted();
    const shown = this.#stands() ? this.#standing(wanted) : wanted;
    if (!this.#stands()) this.#rests(wanted);
    this.#drawRows(shown);
    this.#drawWords(wanted);
  }

  /** Stop the list from moving, or let it go on. */
  pause() {
    this.#isPaused = !this.#isPaused;
    this.ctx.announce(this.#isPaused ? "The list is paused." : "The list goes on.");
    this.#settle();
  }

  /** Limit the list to a value that was pressed. */
  limit(key, value) {
    const term = termFor(key, value);
    if (term !== null) this.#filter(withTerm(this.#text, term));
  }

  /** Add a group to the selection, or take it away. */
  select(id, isSelected) {
    if (isSelected) this.#selected.add(id);
    else this.#selected.delete(id);
    this.#drawSelection();
  }

  /** The drawer was closed by the person: the list is what is left. */
  closeDrawer() {
    const id = this.#openId;
    this.ctx.go(this.#hash(null));
    this.#focus(id);
  }

  /** Where an alert's drawer is. */
  hashOf(id) {
    return this.#hash(id);
  }

  // -- the list -----------------------------------------------------------------------------------------------------

  #build() {
    this.held = el("button", { type: "button", class: "held", id: "alerts-held", on: { click: () => this.#letIn() } });
    this.list = el("ul", { class: "alert-list", id: "alerts", "aria-label": "Alerts, newest first" });
    this.empty = el("p", { class: "empty", id: "alerts-empty", hidden: true });
    this.more = el(
      "button",
      { type: "button", class: "button", id: "alerts-more", hidden: true, on: { click: () => this.#more() } },
      "Load more",
    );
    this.count = el("p", { class: "fine alerts-count", id: "alerts-count" });
    show(this.held, false);
    const foot = el("footer", { class: "alerts-foot" }, this.count, this.more);
    const head = el("div", { class: "alerts-head" }, this.bar.node, this.bulk.node, this.held);
    this.pane = el("div", { class: "alerts-pane" }, head, this.list, this.empty, foot);
    this.root.append(this.pane, this.drawer.node);
  }

  #wanted() {
    const filter = this.ctx.live.filter ?? effective(this.#text);
    const all = this.ctx.store.sortedGroups().filter((group) => passesStates(filter, group));
    return all.slice(0, GROUPS_MAX);
  }

  // Paused, or somebody's pointer is in the list. A list that is empty has nothing to stand still.
  #stands() {
    return (this.#isPaused || this.isHeld()) && this.#shown.length > 0;
  }

  // The rows as they stood; those of groups that left the filter stay too, so that nothing moves under the pointer.
  #standing(wanted) {
    const known = new Map(wanted.map((group) => [group.id, group]));
    const { groups } = this.ctx.store;
    return this.#shown.map((id) => known.get(id) ?? groups.get(id)).filter(Boolean);
  }

  #rests(wanted) {
    this.#countAtRest = this.ctx.store.alertCount;
    this.#rest = new Set(wanted.map(({ id }) => id));
  }

  #waiting(wanted) {
    if (!this.#stands()) return 0;
    const unseen = wanted.filter(({ id }) => !this.#rest.has(id)).length;
    return Math.max(this.ctx.store.alertCount - this.#countAtRest, unseen);
  }

  #drawRows(groups) {
    const nowMs = Date.now();
    const ids = groups.map(({ id }) => id);
    const kept = new Set(ids);
    for (const id of this.#rows.keys()) if (!kept.has(id)) this.#rows.delete(id);
    for (const group of groups) {
      const row = this.#row(group);
      row.draw(group, nowMs);
      row.drawLink(this.#hash(group.id));
      setAttr(row.node, "aria-current", group.id === this.#openId ? "true" : null);
    }
    place(this.list, ids.map((id) => this.#rows.get(id).node));
    this.#shown = ids;
    const at = ids.indexOf(this.#current());
    if (at >= 0) this.#stood = at;
    this.#pin(ids);
    for (const id of this.#selected) if (!kept.has(id)) this.#selected.delete(id);
    this.#drawSelection();
  }

  #row(group) {
    if (!this.#rows.has(group.id)) this.#rows.set(group.id, new AlertRow(group, this));
    return this.#rows.get(group.id);
  }

  // While the list stands still, what is in it must not be forgotten.
  #pin(ids) {
    this.ctx.store.pinned = new Set(this.#stands() ? ids : [...this.#selected, ...(this.#openId ? [this.#openId] : [])]);
  }

  #drawWords(wanted) {
    const { store, live } = this.ctx;
    const waiting = this.#waiting(wanted);
    this.bar.draw(this.#text, live.problem);
    this.bar.drawPause(this.#isPaused, waiting);
    show(this.held, waiting > 0 && !this.#isPaused);
    setText(this.held, `${plural(waiting, "new alert")}: show`);
    show(this.more, store.next !== null && wanted.length < GROUPS_MAX);
    const isFull = wanted.length >= GROUPS_MAX;
    setText(this.count, isFull ? `The newest ${count(wanted.length)}. Filter to see others.` : plural(wanted.length, "group"));
    show(this.empty, this.#shown.length === 0);
    setText(this.empty, store.isListed ? this.#emptyWords() : "Loading …");
  }

  #emptyWords() {
    if (this.#text) return "No alert matches this filter.";
    return "Nothing to do. Every action so far was usual for its agent, or its model is still learning.";
  }

  #drawAges() {
    if (this.root.hidden) return;
    const nowMs = Date.now();
    for (const id of this.#shown) {
      const group = this.ctx.store.groups.get(id);
      if (group) this.#rows.get(id)?.draw(group, nowMs);
    }
  }

  #drawActs() {
    if (!this.root.hidden) for (const id of this.#shown) this.#rows.get(id)?.drawAct();
  }

  #drawSelection() {
    for (const [id, row] of this.#rows) {
      row.box.checked = this.#selected.has(id);
      setAttr(row.node, "data-selected", this.#selected.has(id));
    }
    this.bulk.draw(this.#selected.size);
  }

  // -- what people do -----------------------------------------------------------------------------------------------

  #hash(id) {
    return hashOf("alerts", id, { filter: this.#text });
  }

  #filter(text) {
    this.ctx.go(hashOf("alerts", null, { filter: text }));
  }

  // The order is the daemon's again, now.
  #settle() {
    if (!this.#isPaused) this.#shown = [];
    this.draw();
  }

  #letIn() {
    this.#settle();
    this.pane.scrollTo({ top: 0 });
    this.root.focus({ preventScroll: true });
  }

  async #more() {
    this.more.disabled = true;
    const last = this.#shown.at(-1);
    try {
      await this.ctx.live.older(MORE);
      this.#settle();
      this.#focus(this.#shown[this.#shown.indexOf(last) + 1] ?? last);
    } catch (error) {
      this.ctx.tell(`The older alerts could not be fetched: ${error.message}.`, "bad");
    } finally {
      this.more.disabled = false;
    }
  }

  #selectAll() {
    for (const id of this.#shown) this.#selected.add(id);
    this.#drawSelection();
  }

  #clear() {
    this.#selected.clear();
    this.#drawSelection();
  }

  #bulk(change) {
    this.change(change, [...this.#selected]);
  }

  /** Do something with groups: at once, or after asking for what it needs. */
  change(change, ids, fields = {}) {
    if (["acknowledge", "reopen"].includes(change)) this.acts.change(ids, change);
    else this.dialog.open(change, ids, fields);
  }

  // -- keys ---------------------------------------------------------------------------------------------------------

  #keys() {
    const mayTriage = (act) => () => this.ctx.may("triage") && act();
    return {
      "/": () => this.bar.field.focus(),
      j: () => this.#step(1),
      k: () => this.#step(-1),
      Enter: (event) => this.#enter(event),
      x: mayTriage(() => this.#toggle()),
      a: mayTriage(() => this.#acknowledge()),
      m: mayTriage(() => this.#mute()),
      p: () => this.pause(),
      Escape: () => this.#escape(),
    };
  }

  // The alert that keys are about: the open one, or the one that has the focus, or had it last.
  #current() {
    const focused = document.activeElement?.closest?.("[data-alert]")?.dataset.alert;
    return this.#openId ?? focused ?? (this.#rows.has(this.#currentId) ? this.#currentId : null);
  }

  #step(by) {
    const at = this.#shown.indexOf(this.#current());
    const to = at < 0 ? this.#stood + Math.min(by, 0) : at + by;
    const next = this.#shown[Math.min(this.#shown.length - 1, Math.max(0, to))];
    if (next === undefined) return;
    this.#stood = this.#shown.indexOf(next);
    if (this.#openId !== null) this.ctx.go(this.#hash(next), { replace: true });
    else this.#focus(next);
  }

  #focus(id) {
    this.#currentId = id;
    this.#rows.get(id)?.title.focus();
  }

  // On a button or a link, Enter is the browser's.
  #enter(event) {
    if (event.target.closest?.("a, button, input, summary")) return false;
    const id = this.#current();
    if (id !== null) this.ctx.go(this.#hash(id));
    return id !== null;
  }

  #toggle() {
    const id = this.#current();
    if (id !== null) this.select(id, !this.#selected.has(id));
  }

  #acknowledge() {
    const current = this.#current();
    const ids = this.#selected.size && this.#openId === null ? [...this.#selected] : current === null ? [] : [current];
    if (ids.length) this.change("acknowledge", ids);
  }

  #mute() {
    const group = this.drawer.group ?? this.ctx.store.groups.get(this.#current());
    if (!group) return;
    if (canBeMuted(group)) this.ctx.openMute(group.alert.agent_id, signalOf(group));
    else this.ctx.tell("Alerts about the kill switch itself cannot be muted.", "bad");
  }

  #escape() {
    if (document.activeElement === this.bar.field) this.root.focus();
    else if (this.#openId !== null) this.closeDrawer();
    else this.#clear();
  }
}
