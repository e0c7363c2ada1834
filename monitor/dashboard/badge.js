// Small pieces that several views share.

import { el } from "./dom.js";
import { plain } from "./format.js";
import { icon } from "./icons.js";
import { levelWords } from "./words.js";

/** Return an icon with its text, in a tone. */
export function badge(tone, iconName, text) {
  return el("span", { class: "badge", "data-tone": tone }, icon(iconName), el("span", {}, text));
}

/** Return the badge of what is cut off, in the words of its level. */
export function cutBadge(level, more = "") {
  const { icon: name, text } = levelWords(level);
  return badge("cut", name, more ? `${text} ${more}` : text);
}

const STRONGEST = 3; // the rank of "revoke" in words.js

/**
 * Return {key, buttons} that fit an agent: kill; or restore; or both, where what holds it now is weaker than a kill.
 * `cut`: the revocation in force, or null. The key changes when the buttons do. No button acts by itself: each opens
 * the panel.
 */
export function actButtons(agentId, cut, open) {
  return targetButtons(`agent:${agentId}`, cut, open);
}

/** The same for any target. */
export function targetButtons(target, cut, open) {
  const modes =
    cut === null ? ["kill"] : levelWords(cut.level).rank < STRONGEST ? ["restore", "kill"] : ["restore"];
  const targetOf = (mode) => (mode === "kill" ? target : cut.target);
  return {
    key: modes.map((mode) => `${mode} ${targetOf(mode)}`).join("|"),
    buttons: () => modes.map((mode) => actButton(mode, targetOf(mode), open)),
  };
}

/** Return the button that opens the panel for killing, or restoring, a target. It never acts by itself. */
export function actButton(mode, target, open) {
  const words = mode === "kill" ? "Kill" : "Restore";
  return el(
    "button",
    {
      type: "button",
      class: `button act ${mode}`,
      "data-mode": mode,
      "aria-label": `${words} ${plain(target, 120)} …`,
      "aria-haspopup": "dialog",
      on: { click: () => open(mode, target) },
    },
    icon(mode),
    `${words} …`,
  );
}
