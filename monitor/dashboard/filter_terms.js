// A filter's terms, as the daemon reads them (docs/api.md, "Filters"): taken apart for the chips, put together again. Pure.

const TERM = /-?(?:[a-z_]+:)?(?:"[^"]*"|[^\s"])+/g;
const PLAIN = /^[^\s",]+$/;

/** The states that the list can be limited to: what the button says, and the term that stands in the filter. */
export const STATE_CHOICES = [
  { text: "To do", term: "" },
  { text: "Open", term: "state:open" },
  { text: "Acknowledged", term: "state:acknowledged" },
  { text: "Closed", term: "state:closed" },
  { text: "Muted", term: "state:muted" },
  { text: "All", term: "state:open,acknowledged,closed,muted" },
];

/** Return the terms of a filter's text. */
export function termsOf(text) {
  return text.match(TERM) ?? [];
}

/** Return the term that finds exactly this value, or null: the language cannot write a quotation mark. */
export function termFor(key, value) {
  if (value === null || value === undefined || value === "") return null;
  const word = String(value).replaceAll('"', "*");
  return `${key}:${PLAIN.test(word) ? word : `"${word}"`}`;
}

/** Return the text with the term added, once. */
export function withTerm(text, term) {
  const terms = termsOf(text);
  return terms.includes(term) ? text : [...terms, term].join(" ");
}

/** Return the text without the term. */
export function withoutTerm(text, term) {
  return termsOf(text)
    .filter((other) => other !== term)
    .join(" ");
}

/** Return the text with `term` as its only one about states; "" for none. */
export function withState(text, term) {
  const others = termsOf(text).filter((other) => !isAbout("state", other));
  return [...others, term].filter(Boolean).join(" ");
}

/** Return the choice whose term is the filter's only one about states, or null. */
export function stateChoice(text) {
  const terms = termsOf(text).filter((term) => isAbout("state", term));
  const term = terms.length > 1 ? null : (terms[0] ?? "");
  return STATE_CHOICES.find((choice) => choice.term === term) ?? null;
}

/**
 * Return what the daemon is asked for. Unless the filter speaks of it, what is muted is left out, and what is closed is
 * left out unless the filter names states at all.
 */
export function effective(text) {
  const states = termsOf(text).filter((term) => isAbout("state", term));
  const hidden = ["closed", "muted"].filter((state) =>
    state === "muted" ? !states.some((term) => term.includes("muted")) : states.length === 0,
  );
  return [text.trim(), hidden.length ? `-state:${hidden.join(",")}` : ""].filter(Boolean).join(" ");
}

/** Return whether a group's state passes an effective filter: it changes while the group is held. */
export function passesStates(effectiveText, { state, muted_by: mutedBy }) {
  const has = new Set(mutedBy ? [state, "muted"] : [state]);
  return termsOf(effectiveText)
    .filter((term) => isAbout("state", term))
    .every((term) => {
      const wanted = term.slice(term.indexOf(":") + 1).replaceAll('"', "").split(",");
      return wanted.some((one) => has.has(one)) !== term.startsWith("-");
    });
}

function isAbout(key, term) {
  return term.startsWith(`${key}:`) || term.startsWith(`-${key}:`);
}
