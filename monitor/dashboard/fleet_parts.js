// The pieces of the fleet's page, each drawn from one of the daemon's answers. Pure but for making elements.

import { badge } from "./badge.js";
import { el } from "./dom.js";
import { clock, count, ms, plain, plural, rate } from "./format.js";
import { icon } from "./icons.js";
import { heardWords } from "./panel_words.js";

const MODES = { enforce: "kills", alert: "alerts only", observe: "observes only" };
const BACKLOG_MANY = 1000; // the header calls it too many from here, too

/** Return what a status says, as [{key, label, text, tone?}]. */
export function statusFacts(status, nowMs) {
  const { points_live: live, points_total: total, kills_pending: pending, last_drill: drill } = status;
  const mode = status.kills_paused ? "paused" : (MODES[status.mode] ?? (plain(status.mode, 30) || "–"));
  return [
    { key: "mode", label: "the daemon by itself", text: mode, tone: status.kills_paused ? "bad" : null },
    { key: "rate", label: "actions a second", text: rate(status.actions_per_s) },
    {
      key: "backlog",
      label: "actions wait to be scored",
      text: count(status.backlog),
      tone: status.backlog > BACKLOG_MANY ? "watch" : null,
    },
    {
      key: "agents",
      label: "agents calibrated",
      text: `${count(status.calibrated)} of ${count(status.agents)}`,
    },
    {
      key: "points",
      label: "points live",
      text: `${count(live)} of ${count(total)}`,
      tone: live < total ? "watch" : null,
    },
    {
      key: "store",
      label: "store",
      text: plain(status.redis, 30) || "–",
      tone: status.redis === "unreachable" ? "bad" : null,
    },
    { key: "pending", label: "kills pending", text: count(pending), tone: pending > 0 ? "bad" : null },
    {
      key: "ready",
      label: "kill ready",
      text: status.kill_ready ? "yes" : "not shown",
      tone: status.kill_ready ? "ok" : "watch",
    },
    {
      key: "drill",
      label: "last drill",
      text: drill ? `${plain(drill.verdict, 20)}, ${clock(drill.at, nowMs)}` : "none",
      tone: drill?.verdict === "failed" ? "bad" : null,
    },
  ];
}

/** Return one tile of a fact. */
export function tile({ key, label, text, tone = null }) {
  const figure = el("dd", {}, el("span", { class: tone ? "toned" : null, "data-tone": tone }, text));
  return el("div", { class: "tile", "data-fact": key }, el("dt", {}, label), figure);
}

/** Return the item of an enforcement point. */
export function pointItem(point) {
  const { name, host, pid, live, serves } = point;
  const more = [`${plain(host, 80)}, pid ${plain(pid, 20)}`, plain(point.version, 30), servesWords(serves)];
  return el(
    "li",
    { "data-state": live ? "confirmed" : "missing", "data-point": name },
    icon(live ? "check" : "cross"),
    el(
      "span",
      { class: "point-name" },
      plain(name, 80),
      el("span", { class: "fine point-more" }, more.filter(Boolean).join(" · ")),
    ),
    el("span", { class: "point-time" }, live ? `live, ${heardWords(point)}` : heardWords(point)),
  );
}

function servesWords(serves) {
  return serves?.length ? `serves ${serves.map((one) => plain(one, 60)).join(", ")}` : "";
}

/** Return the card of a drill. */
export function drillCard(drill) {
  const isPassed = drill.verdict === "passed";
  const failing = drill.failing_points.map(
    ({ point, problem }) => `${plain(point, 80)}: ${plain(problem, 120)}`,
  );
  const times = [
    `p50 ${ms(drill.p50_ms)}`,
    `p99 ${ms(drill.p99_ms)}`,
    `slowest ${ms(drill.max_ms)}`,
    `promised ${ms(drill.promise_ms)}`,
  ].join(", ");
  const verdict = `${plain(drill.verdict, 30)}, ${plural(drill.points ?? 0, "point")}`;
  return el(
    "li",
    { class: "card", "data-drill": drill.verdict },
    el(
      "div",
      { class: "card-words" },
      el("p", {}, badge(isPassed ? "ok" : "bad", isPassed ? "check" : "critical", verdict)),
      failing.length ? el("p", { class: "card-reason" }, failing.join("; ")) : null,
      el("p", { class: "fine" }, `${clock(drill.at, Date.now())} by ${plain(drill.by, 60)} · ${times}`),
    ),
  );
}

const ROUTE = {
  waiting: { icon: "check", tone: "ok", text: "Up to date" },
  delivering: { icon: "live", tone: "ok", text: "Delivering" },
  starting: { icon: "hold", tone: "watch", text: "Starting" },
  retrying: { icon: "retry", tone: "bad", text: "Retrying" },
  broken: { icon: "critical", tone: "bad", text: "Broken" },
};

/** Return the card of a delivery route; `button` sends a test, or is null. */
export function deliveryCard(route, button) {
  const known = ROUTE[route.state] ?? { icon: "high", tone: "watch", text: plain(route.state, 30) };
  const nowMs = Date.now();
  const figures = [
    `${count(route.sent)} sent`,
    `${count(route.behind)} behind`,
    route.failed && plural(route.failed, "failed attempt"),
    route.set_aside && `${count(route.set_aside)} set aside`,
    route.missed && `${count(route.missed)} missed`,
    route.last_sent_at && `last ${clock(route.last_sent_at, nowMs)}`,
  ];
  return el(
    "li",
    { class: "card", "data-route": route.name },
    el(
      "div",
      { class: "card-words" },
      el(
        "p",
        { class: "card-head" },
        badge(known.tone, known.icon, known.text),
        el("b", {}, plain(route.name, 80)),
        el("span", { class: "fine" }, plain(route.kind, 30)),
        route.filter ? el("code", {}, plain(route.filter, 200)) : null,
      ),
      route.last_error ? el("p", { class: "card-reason" }, plain(route.last_error, 300)) : null,
      el("p", { class: "fine" }, figures.filter(Boolean).join(" · ")),
    ),
    button,
  );
}
