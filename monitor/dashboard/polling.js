// Asking again and again, while somebody looks: never twice at once, never for a hidden tab.

/** Calls `ask()` every `everyMs` between `start` and `stop`. What it throws is given to `onError`, and it goes on. */
export class Polling {
  #timer = 0;
  #isBusy = false;
  #again = false;

  /**
   * @param {() => Promise<void>} ask
   * @param {number} everyMs
   * @param {(error: any) => void} [onError]
   */
  constructor(ask, everyMs, onError = () => {}) {
    this.ask = ask;
    this.everyMs = everyMs;
    this.onError = onError;
  }

  /** Ask now, and go on. */
  start() {
    this.stop();
    this.#timer = setInterval(
      () => document.visibilityState === "visible" && !this.#isBusy && this.now(),
      this.everyMs,
    );
    return this.now();
  }

  /** Ask no more; an answer that is under way still comes. */
  stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
  }

  /** Ask now, or once more when an answer is being waited for. */
  async now() {
    if (this.#isBusy) {
      this.#again = true;
      return;
    }
    this.#isBusy = true;
    try {
      await this.ask();
    } catch (error) {
      this.onError(error);
    } finally {
      this.#isBusy = false;
      if (this.#again) {
        this.#again = false;
        this.now();
      }
    }
  }
}
