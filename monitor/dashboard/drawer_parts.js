// The parts of the drawer: each takes what the daemon said and returns what to show, or nothing.

import { closeWords } from "./acts.js";
import { el, link } from "./dom.js";
import { clock, odds, plain, probability } from "./format.js";
import { icon } from "./icons.js";
import { hashOf } from "./router.js";
import { responseWords, verdictWords } from "./words.js";

const BEFORE = 8; // actions shown before the one that the alert is about
const AFTER = 4;
const REASONS_MAX = 50;
const CHAIN_MAX = 50;

/** Why: each signal, what was observed, what was expected, and how unlikely that is. */
export function whyPart(alert) {
  const reasons = (alert.reasons ?? []).slice(0, REASONS_MAX);
  if (!reasons.length) return [];
  return [el("h3", {}, "Why"), el("ul", { class: "signals" }, ...reasons.map(signalItem))];
}

function signalItem({ signal, sentence, observed, expected, p }) {
  const chance = [odds(p), Number.isFinite(p) ? `p ${probability(p)}` : ""].filter(Boolean).join(" · ");
  const pairs = [
    ["observed", observed],
    ["expected", expected],
  ].filter(([, value]) => plain(value) !== "");
  return el(
    "li",
    { class: "signal" },
    el("p", { class: "signal-head" }, el("code", {}, plain(signal, 80)), el("span", { class: "fine" }, chance)),
    el("p", {}, plain(sentence) || plain(signal, 80)),
    el("dl", { class: "pairs" }, ...pairs.flatMap(([label, value]) => [el("dt", {}, label), el("dd", {}, plain(value))])),
  );
}

/** The facts: what the alert is about, each a way to limit the list to it where the filter knows it. */
export function factsPart(alert, list) {
  const limit = Number.isFinite(alert.threshold_p) ? `, alert below ${probability(alert.threshold_p)}` : "";
  const facts = [
    ["verdict", verdictWords(alert.verdict), ["verdict", alert.verdict]],
    ["tool", alert.tool, ["tool", alert.tool]],
    ["session", alert.session_id, ["session", alert.session_id]],
    ["likelihood", Number.isFinite(alert.p) ? `p ${probability(alert.p)}${limit}` : ""],
    ["policy", alert.policy],
    ["action", alert.action_id],
    ["alert", alert.id],
  ].filter(([, value]) => plain(value) !== "");
  const rows = facts.flatMap(([label, value, term]) => [el("dt", {}, label), el("dd", {}, fact(value, term, list))]);
  return [el("h3", {}, "What"), el("dl", { class: "pairs" }, ...rows)];
}

function fact(value, term, list) {
  return term ? valueButton(value, term[0], term[1], list) : el("span", {}, plain(value));
}

function valueButton(text, key, value, list) {
  const shown = plain(text, 200);
  const title = `${key} ${plain(value, 200)}: show only these`;
  return el("button", { type: "button", class: key === "verdict" ? "value" : `value ${key}`, title, on: { click: () => list.limit(key, value) } }, shown);
}

/** What the policy did about it, and why. */
export function responsePart(response) {
  if (!response) return [];
  const { icon: name, tone, text } = responseWords(response);
  const facts = [
    ["mode", response.mode],
    ["wanted", response.wanted],
    ["taken", response.taken],
    ["change", response.change_id],
  ].filter(([, value]) => plain(value) !== "");
  return [
    el("h3", {}, "Response"),
    el("p", { class: "badge", "data-tone": tone }, icon(name), el("span", {}, text)),
    el("p", {}, plain(response.why)),
    el("p", { class: "fine" }, facts.map(([label, value]) => `${label} ${plain(value, 80)}`).join(" · ")),
  ];
}

/** On whose errand: from the person who began it to the call, in order. */
export function chainPart(alert, list) {
  const humans = (alert.on_behalf_of ?? []).slice(0, CHAIN_MAX);
  const steps = [
    ...humans.map((name) => ["on behalf of", valueButton(name, "human", name, list)]),
    ["agent", link(hashOf("agents", alert.agent_id), { class: "name" }, plain(alert.agent_id, 120))],
    alert.credential && ["with the credential", el("span", {}, plain(alert.credential, 200))],
    alert.tool && ["calls", el("span", {}, plain(alert.tool, 120))],
  ].filter(Boolean);
  if (!humans.length && !alert.credential) return [];
  const items = steps.map(([label, node]) => el("li", {}, el("span", { class: "fine" }, label), node));
  return [el("h3", {}, "On whose behalf"), el("ol", { class: "chain" }, ...items)];
}

/** What the agent did around that moment. `actions`: newest first, or null when they could not be fetched. */
export function evidencePart(alert, actions) {
  const head = el("h3", {}, "What it did around then");
  if (actions === null) return [head, el("p", { class: "fine" }, "The agent's actions could not be fetched.")];
  const at = actions.findIndex(({ seq, id }) => seq === alert.action_seq || id === alert.action_id);
  if (at < 0) return [];
  const shown = actions.slice(Math.max(0, at - AFTER), at + BEFORE + 1).reverse();
  return [head, el("ol", { class: "actions" }, ...shown.map((action) => actionItem(action, actions[at])))];
}

function actionItem(action, flagged) {
  const isIt = action === flagged;
  const from = Object.entries(action.provenance ?? {}).map(([name, source]) => `${plain(name, 40)} from ${plain(source, 60)}`);
  const args = (action.arg_names ?? []).map((name) => plain(name, 40)).join(", ");
  return el(
    "li",
    { class: "action", "aria-current": isIt ? "true" : null },
    el("time", {}, clock(action.ts_s, Date.now())),
    el("code", {}, plain(action.tool, 80)),
    el("span", { class: "fine" }, [plain(action.resource, 120), args && `(${args})`, from.join(", ")].filter(Boolean).join(" · ")),
    isIt ? el("span", { class: "action-mark" }, icon("high"), "this one") : null,
  );
}

const CHANGED = {
  acknowledge: "acknowledged it",
  comment: "commented",
  reopen: "reopened it",
};

function changeText({ change, assignee, reason }) {
  if (change === "assign") return assignee ? `assigned it to ${plain(assignee, 80)}` : "took it from its assignee";
  if (change === "close") return `closed it: ${closeWords(reason)}`;
  return CHANGED[change] ?? plain(change, 40);
}

/** What became of it: who did what, and when. */
export function historyPart(group, nowMs) {
  const born = el("li", {}, el("time", {}, clock(group.first_ts, nowMs)), el("span", {}, "the first alert"));
  const items = group.history.map((done) =>
    el(
      "li",
      {},
      el("time", {}, clock(done.at, nowMs)),
      el("span", {}, el("b", {}, plain(done.by, 80)), ` ${changeText(done)}`),
      done.comment ? el("blockquote", {}, plain(done.comment, 2000)) : null,
    ),
  );
  return [el("h3", {}, "History"), el("ol", { class: "history" }, born, ...items)];
}

/** What people thought of earlier ones like it. */
export function precedentsPart(group, list) {
  if (!group.precedents.length) return [];
  const own = group.alert.agent_id;
  const items = group.precedents.map((one) => {
    const whose = one.agent_id === own ? "" : `${plain(one.agent_id, 80)}, `;
    return el(
      "li",
      {},
      el("b", {}, closeWords(one.reason)),
      " ",
      link(list.hashOf(one.id), { class: "precedent" }, plain(one.title, 200) || plain(one.id, 60)),
      el("span", { class: "fine" }, ` ${whose}by ${plain(one.by, 80)}, ${clock(one.last_ts, Date.now())}`),
      one.comment ? el("blockquote", {}, plain(one.comment, 2000)) : null,
    );
  });
  return [el("h3", {}, "Seen before"), el("ul", { class: "precedents" }, ...items)];
}
