// The address is the state: `#/alerts/ID?filter=…` says which view is shown, of what, and how. Reloading or sharing
// the address shows the same again.

const DEFAULT = "alerts";

/**
 * @typedef {{name: string, id: string | null, query: URLSearchParams}} Place
 */

/**
 * Return what an address hash says: the view's name, the id behind it (decoded, or null), and the query. Pure.
 * @param {string} hash
 * @returns {Place}
 */
export function placeOf(hash) {
  const [path, query = ""] = split(hash.replace(/^#\/?/, ""), "?");
  const [name, id = ""] = split(path, "/");
  return { name: name || DEFAULT, id: id === "" ? null : decoded(id), query: new URLSearchParams(query) };
}

/**
 * Return the address hash of a place. Pure. Empty values of the query are left out.
 * @param {string} name
 * @param {string | null} [id]
 * @param {Record<string, string> | URLSearchParams} [query]
 */
export function hashOf(name, id = null, query = {}) {
  const pairs = query instanceof URLSearchParams ? [...query] : Object.entries(query);
  const kept = new URLSearchParams(pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined));
  const text = kept.toString();
  return `#/${name}${id === null ? "" : `/${encodeURIComponent(id)}`}${text ? `?${text}` : ""}`;
}

function split(text, at) {
  const i = text.indexOf(at);
  return i < 0 ? [text] : [text.slice(0, i), text.slice(i + 1)];
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // somebody wrote the address by hand
  }
}

/** Shows the view that the address names, and hides the others. `onPlace(place)` is told after each change. */
export class Router {
  #views = new Map(); // key → {view, root}
  #shown = null;

  /** @param {{onPlace: (place: Place) => void}} options */
  constructor({ onPlace }) {
    this.onPlace = onPlace;
    window.addEventListener("hashchange", () => this.follow());
  }

  /** `key` is the view's name, or `NAME/` for the one that shows a single NAME by its id. */
  add(key, view, root) {
    this.#views.set(key, { view, root });
  }

  /** Return where the address points. */
  get place() {
    return placeOf(location.hash);
  }

  /** Go to an address such as `#/agents/billing-bot`; `replace` leaves no step behind for the back button. */
  go(hash, { replace = false } = {}) {
    if (hash === location.hash) return;
    if (!replace) {
      location.hash = hash;
      return; // the event does the rest
    }
    history.replaceState(null, "", hash);
    this.follow();
  }

  /** Show what the address names. */
  follow() {
    const place = this.place;
    const key = place.id !== null && this.#views.has(`${place.name}/`) ? `${place.name}/` : place.name;
    const found = this.#views.get(key);
    if (!found) return this.go(hashOf(DEFAULT), { replace: true });
    if (this.#shown && this.#shown !== found) {
      this.#shown.root.hidden = true;
      this.#shown.view.hide();
    }
    const isNew = this.#shown !== found;
    this.#shown = found;
    found.root.hidden = false;
    found.view.show({ id: place.id, query: place.query });
    this.onPlace(place, isNew ? found.root : null);
  }
}
