// On whose behalf an agent acts: the human, the agents that passed the errand on, and the agent itself, with the way to
// stop it at each.

import { targetButtons } from "./badge.js";
import { el, link } from "./dom.js";
import { clock, count, plain } from "./format.js";
import { icon } from "./icons.js";
import { hashOf } from "./router.js";

const CHAINS_MAX = 10;

/** Return the children of a section about an agent's chains of delegation, the latest first. */
export function chainNodes(ctx, agentId, chains) {
  const known = chains.filter(({ on_behalf_of: names }) => names.length > 0);
  if (known.length === 0)
    return [el("p", { class: "fine" }, "Its actions do not say on whose behalf it acts.")];
  const rest = known.length - CHAINS_MAX;
  return [
    ...known.slice(0, CHAINS_MAX).map((chain) => chainNode(ctx, agentId, chain)),
    rest > 0 ? el("p", { class: "fine" }, `and ${count(rest)} more`) : null,
  ];
}

function chainNode(ctx, agentId, { on_behalf_of: [human, ...delegates], last_ts: ts }) {
  const steps = [
    step(ctx, "human", plain(human, 160), `human:${human}`),
    ...delegates.map((name) => step(ctx, "delegate", agentLink(name), `delegation:${name}`)),
    step(ctx, "agent", el("b", {}, plain(agentId, 160)), null),
  ];
  return el(
    "div",
    { class: "chain-box" },
    el("ol", { class: "steps", "aria-label": "From the human to the agent" }, ...steps),
    el("p", { class: "fine" }, `last seen ${clock(ts, Date.now())}`),
  );
}

function step(ctx, kind, name, target) {
  const cut = target === null ? null : (ctx.store.revocations.get(target) ?? null);
  const buttons =
    target !== null && ctx.may("kill") ? targetButtons(target, cut, ctx.openPanel).buttons() : [];
  return el(
    "li",
    { class: "step", "data-step": kind, "data-cut": cut?.level ?? null },
    el(
      "div",
      { class: "step-words" },
      el("span", { class: "fine" }, cut ? icon("cut") : null, cut ? `${kind}, cut off` : kind),
      el("span", { class: "step-name" }, name),
    ),
    ...buttons,
  );
}

function agentLink(name) {
  return link(hashOf("agents", name), { class: "name" }, plain(name, 160));
}
