// What can be killed, and what somebody has to type before it is. Pure.

import { plain } from "./format.js";

// A longer name need not be typed to its end: it stands above the field, and thumbs are slow at 3 a.m.
const TYPED_MAX = 40;

const KINDS = {
  agent: "Agent",
  agent_version: "Agent version",
  session: "Session",
  human: "Human",
  delegation: "Delegation",
  credential: "Credential",
  tool: "Tool",
  tenant: "Tenant",
  fleet: "Fleet",
};

/** Return {kind, value} of a target such as `agent:billing-bot`; a fleet has no value. */
export function parted(target) {
  const at = target.indexOf(":");
  return at < 0 ? { kind: target, value: "" } : { kind: target.slice(0, at), value: target.slice(at + 1) };
}

/** Return what kind of thing a target is, in words. */
export function kindWords(target) {
  const { kind } = parted(target);
  return KINDS[kind] ?? plain(kind, 40);
}

/** Return what has to be typed before this target can be killed: its name, as it is shown. */
export function typedName(target) {
  const { kind, value } = parted(target);
  const name = plain(value || kind, 600).trim();
  return [...name].slice(0, TYPED_MAX).join("").trim();
}

/** True when `text` is what has to be typed; the whole name, copied and pasted, is right too. */
export function isTyped(text, target) {
  const typed = text.trim();
  const { kind, value } = parted(target);
  return (
    typed !== "" &&
    [typedName(target), (value || kind).trim(), plain(value || kind, 600).trim()].includes(typed)
  );
}

/** Return the filter that finds the alerts about an agent. The language has no way to write a quotation mark. */
export function agentFilter(agentId) {
  const word = agentId.replaceAll('"', "*");
  return `agent:${/^[\w.@:/+*-]+$/.test(word) ? word : `"${word}"`}`;
}
