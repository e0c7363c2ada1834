// The token and the operator's name: in this tab's sessionStorage and nowhere else, never in an address.

const TOKEN = "killcord.token";
const NAME = "killcord.name";

// It must fit into a websocket subprotocol, `bearer.TOKEN` (RFC 6455 §4.1: an RFC 9110 token).
const SHAPE = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{8,512}$/;

/**
 * Take the token out of the address bar (`#token=…`) before anything else can see it there.
 *
 * Returns true when there was one, false when there was one that cannot be a token, null when there was none.
 */
export function adoptFragment() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found === null) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return remember(found);
}

/** Return the token, or null when there is none. */
export function token() {
  return sessionStorage.getItem(TOKEN);
}

/** Keep a token for this tab; false when it cannot be one. */
export function remember(value) {
  const trimmed = value.trim();
  if (!SHAPE.test(trimmed)) return false;
  sessionStorage.setItem(TOKEN, trimmed);
  return true;
}

/** Forget the token. */
export function forget() {
  sessionStorage.removeItem(TOKEN);
}

/** Return the name that goes into the record of a kill. */
export function operator() {
  return sessionStorage.getItem(NAME) || "dashboard";
}

/** Keep the operator's name for this tab. */
export function rememberOperator(name) {
  sessionStorage.setItem(NAME, name);
}
