// Signing in: who the browser's cookie says this is, or a token that is exchanged for a session at once. No script ever
// keeps a token: the session is an HttpOnly cookie.

import { byId, setText, show } from "./dom.js";

// What the daemon can take; anything else is a slip of the clipboard.
const SHAPE = /^[\x21-\x7e]{8,1000}$/;
const ASK_AGAIN_MS = 3_000;

/**
 * Take a token out of the address bar (`#token=…`) before anything else can see it there.
 * @returns {string | null}
 */
export function takeToken() {
  const found = /^#token=([^&]*)/.exec(location.hash);
  if (found === null) return null;
  history.replaceState(null, "", `${location.pathname}${location.search}#/alerts`);
  try {
    return decodeURIComponent(found[1]);
  } catch {
    return found[1];
  }
}

/** The page before anybody is signed in, and after a session has ended. */
export class SignIn {
  #onSignedIn = null;
  #onAsk = () => {};
  #timer = 0;
  #hasBegun = false;

  /** @param {import("./api.js").Api} api */
  constructor(api) {
    this.api = api;
    byId("sign-in").addEventListener("submit", (event) => {
      event.preventDefault();
      const field = /** @type {HTMLInputElement} */ (byId("token"));
      const token = field.value.trim();
      field.value = "";
      this.#exchange(token);
    });
    // A link with a token opened in a tab that is signed in already: the token wins.
    window.addEventListener("hashchange", () => {
      const token = takeToken();
      if (token !== null) this.#exchange(token);
    });
  }

  /** Find out who is there; `onAsk()` is called when nobody is, `onSignedIn(me)` once, when somebody is. */
  async begin({ onAsk, onSignedIn }) {
    this.#onAsk = onAsk;
    this.#onSignedIn = onSignedIn;
    const token = takeToken();
    await (token === null ? this.#look() : this.#exchange(token));
  }

  /** Ask again: the session has ended while the page was open. */
  async ended() {
    this.#ask("Your session has ended. Sign in again and you are back where you were.", await this.#login());
  }

  async #look() {
    clearTimeout(this.#timer);
    try {
      this.#enter(await this.api.get("/v1/session"));
    } catch (error) {
      const isStranger = error.status === 401;
      this.#ask(isStranger ? null : `${sentence(error)} Trying again …`, error.body?.login ?? null);
      if (!isStranger) this.#timer = setTimeout(() => this.#look(), ASK_AGAIN_MS);
    }
  }

  async #exchange(token) {
    clearTimeout(this.#timer);
    if (!SHAPE.test(token))
      return this.#askAgain("This is not a token: they have no spaces and at least eight characters.");
    try {
      this.#enter(await this.api.post("/v1/session", { token }));
    } catch (error) {
      await this.#askAgain(sentence(error));
    }
  }

  #enter(me) {
    if (!me.permissions.includes("read")) {
      this.#ask(`${me.name} has the role ${me.role}, which may not read. Sign in as somebody else.`, me.login);
    } else if (this.#hasBegun) {
      location.reload(); // everything that is shown and held was somebody else's, or is old
    } else {
      this.#hasBegun = true;
      this.api.csrf = me.csrf;
      this.#onSignedIn(me);
    }
  }

  async #askAgain(problem) {
    this.#ask(problem, await this.#login());
  }

  async #login() {
    const answer = await this.api.get("/v1/session").catch((error) => error.body);
    return answer?.login ?? null;
  }

  #ask(problem, login) {
    this.#onAsk();
    show(byId("sign-in-provider"), login !== null);
    show(byId("sign-in-or"), login !== null);
    setText(byId("sign-in-problem"), problem ?? "");
    show(byId("sign-in-problem"), problem !== null);
    byId(login === null || problem !== null ? "token" : "sign-in-provider").focus();
  }
}

function sentence({ status, message }) {
  if (status === 401) return "The daemon does not know this token. It may have been revoked, or have expired.";
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
}
