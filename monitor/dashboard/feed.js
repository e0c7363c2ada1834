// The websocket: connect, resume with `since`, notice silence, come back with back-off. It knows no message but `seq`.

import { token } from "./session.js";

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15_000;
// The daemon sends a status about every second: this much silence means that the connection is dead, whatever TCP says.
const SILENCE_MS = 6_000;

/**
 * One feed connection that keeps itself alive.
 *
 * `onMessage(message)` gets each decoded message. `onState(state, retryAtMs)` gets "connecting", "live" or "retrying".
 * `onRefused()` is called when the daemon closed the door before it was open: perhaps the token is wrong.
 */
export class Feed {
  #socket = null;
  #timer = 0;
  #watchdog = 0;
  #failures = 0;
  #seq = null;

  constructor({ onMessage, onState, onRefused }) {
    this.onMessage = onMessage;
    this.onState = onState;
    this.onRefused = onRefused;
  }

  /** Connect now; also cuts short a wait for the next attempt. */
  start() {
    this.stop();
    this.onState("connecting", null);
    const url = new URL("/v1/feed", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    if (this.#seq !== null) url.searchParams.set("since", String(this.#seq));
    const socket = new WebSocket(url, ["killcord.v1", `bearer.${token()}`]);
    this.#socket = socket;
    let wasOpen = false;
    socket.onopen = () => {
      wasOpen = true;
      this.#failures = 0;
      this.onState("live", null);
    };
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = () => {
      if (!wasOpen) this.onRefused();
      if (this.#socket === socket) this.#retryLater();
    };
    this.#listenForSilence();
  }

  /** Close for good; `start` begins again where it stopped. */
  stop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** Forget the position: the next start gets new messages only. */
  rewind() {
    this.#seq = null;
  }

  #receive(data) {
    this.#listenForSilence();
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return; // one broken message must not take the others with it
    }
    if (message === null || typeof message !== "object") return;
    // A status says how far the feed is, not how far we are: it may overtake messages that still wait for us, so it is
    // a position only while we have none. The newest, not the highest: a new log counts from the start again.
    if (Number.isSafeInteger(message.seq) && (message.type !== "status" || this.#seq === null))
      this.#seq = message.seq;
    this.onMessage(message);
  }

  #listenForSilence() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      const socket = this.#socket;
      this.#socket = null;
      socket?.close();
      this.#retryLater();
    }, SILENCE_MS);
  }

  #retryLater() {
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    const ceiling = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures);
    this.#failures += 1;
    const wait = ceiling * (0.5 + Math.random() / 2); // jitter: a hundred screens must not come back in one beat
    this.onState("retrying", Date.now() + wait);
    this.#timer = setTimeout(() => this.start(), wait);
  }
}
