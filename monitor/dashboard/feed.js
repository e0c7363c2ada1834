// One websocket of the feed: connect, resume with `since`, notice silence, come back with back-off. It knows no
// message but `seq`.

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15_000;
// The daemon sends a status about every second: this much silence means that the connection is dead, whatever TCP says.
const SILENCE_MS = 6_000;

/**
 * One feed connection that keeps itself alive.
 *
 * `onMessage(message)` gets each decoded message. `onState(state, retryAtMs)` gets "idle", "connecting", "live" or
 * "retrying". `onRefused()` is called when the daemon closed the door before it was open: perhaps the session has ended.
 */
export class Feed {
  state = "idle";
  retryAtMs = null;
  /** The last number that was seen, or null: everything up to it is here, or was left out by the filter. */
  seq = null;

  #socket = null;
  #timer = 0;
  #watchdog = 0;
  #failures = 0;

  constructor({ filter, hasSnapshot = false, onMessage, onState, onRefused = () => {} }) {
    this.filter = filter;
    this.hasSnapshot = hasSnapshot;
    this.onMessage = onMessage;
    this.onState = onState;
    this.onRefused = onRefused;
  }

  /** Connect now, after the last number that was seen; also cuts short a wait for the next attempt. */
  start() {
    this.#drop();
    this.#is("connecting", null);
    const socket = new WebSocket(this.#url(), ["killcord.v1"]);
    this.#socket = socket;
    let wasOpen = false;
    socket.onopen = () => {
      if (this.#socket !== socket) return;
      wasOpen = true;
      this.#failures = 0;
      this.#is("live", null);
    };
    socket.onmessage = (event) => this.#socket === socket && this.#receive(event.data);
    socket.onclose = () => {
      if (this.#socket !== socket) return;
      if (!wasOpen) this.onRefused();
      this.#retryLater();
    };
    this.#listenForSilence();
  }

  /** Close for good; `start` begins again where it stopped. */
  stop() {
    this.#drop();
    this.#is("idle", null);
  }

  #url() {
    const url = new URL("/v1/feed", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("filter", this.filter);
    if (this.seq !== null) url.searchParams.set("since", String(this.seq));
    else if (this.hasSnapshot) url.searchParams.set("snapshot", "1");
    return url;
  }

  #drop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #is(state, retryAtMs) {
    this.state = state;
    this.retryAtMs = retryAtMs;
    this.onState(state, retryAtMs);
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
    // Also a status': its number is one to resume from. The newest, not the highest: a new log counts from the start.
    if (Number.isSafeInteger(message.seq)) this.seq = message.seq;
    this.onMessage(message);
  }

  #listenForSilence() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      this.#drop();
      this.#retryLater();
    }, SILENCE_MS);
  }

  #retryLater() {
    this.#drop();
    const ceiling = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures);
    this.#failures += 1;
    const wait = ceiling * (0.5 + Math.random() / 2); // jitter: a hundred screens must not come back in one beat
    this.#timer = setTimeout(() => this.start(), wait);
    this.#is("retrying", Date.now() + wait);
  }
}
