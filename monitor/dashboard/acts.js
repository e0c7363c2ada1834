// What people do with alerts: the requests, and what is said of the answers.

import { plain, plural } from "./format.js";

const IDS_MAX = 500; // the daemon takes so many at once

const DONE = {
  acknowledge: "acknowledged",
  assign: "assigned",
  comment: "commented on",
  close: "closed",
  reopen: "reopened",
};

/** The four reasons for closing, and what each teaches. */
export const CLOSE_REASONS = [
  { reason: "false_positive", text: "False positive", teaches: "It was nothing. The agent's model learns from it at once." },
  { reason: "benign", text: "Benign", teaches: "Strange but right. The model learns it: not strange the next time." },
  { reason: "duplicate", text: "Duplicate", teaches: "Handled elsewhere. It teaches nothing." },
  { reason: "confirmed", text: "Confirmed", teaches: "A real attack or fault. The model never learns it." },
];

/** Return the words for a reason of closing. */
export function closeWords(reason) {
  return CLOSE_REASONS.find((one) => one.reason === reason)?.text ?? plain(reason, 40);
}

/** Return which changes a group can take now, by its state; the daemon has the last word. */
export function changesOf(state) {
  if (state === "closed") return ["comment", "reopen"];
  return state === "open" ? ["acknowledge", "assign", "comment", "close"] : ["assign", "comment", "close"];
}

/** Sends changes; `onDone(ids)` is called with the groups that changed. */
export class Acts {
  onDone = () => {};

  constructor(ctx) {
    this.ctx = ctx;
  }

  /** Apply one change to groups. Returns null, or why nothing was changed, in words. */
  async change(ids, change, fields = {}) {
    try {
      const answer = await this.ctx.api.post("/v1/alerts/changes", { ids: ids.slice(0, IDS_MAX), change, ...fields });
      this.onDone(ids);
      return this.#tell(change, answer, ids.length);
    } catch (error) {
      this.ctx.tell(failureWords(error), "bad");
      return { text: failureWords(error), field: error.field };
    }
  }

  #tell(change, { changed, refused }, asked) {
    const done = changed.length ? `${plural(changed.length, "alert")} ${DONE[change]}.` : "";
    const why = [...new Set(refused.map(({ error }) => plain(error, 200)))].slice(0, 3).join("; ");
    const not = refused.length ? `${plural(refused.length, "alert")} not ${DONE[change]}: ${why}.` : "";
    const over = asked > IDS_MAX ? `Only the first ${IDS_MAX} were sent.` : "";
    const text = [done, not, over].filter(Boolean).join(" ");
    this.ctx.tell(text, refused.length ? "bad" : "ok");
    return changed.length ? null : { text, field: null };
  }
}

// What an ApiError of a change means for who pressed the button.
function failureWords(error) {
  if (error.status === 0) return `It may or may not have been written: ${error.message}. Look, and try again.`;
  return `Not done: ${plain(error.message)}`;
}
