// Building and updating elements. Every text that reaches the page goes through here and becomes a text node:
// agents choose their own names, tools and arguments, so nothing on this page is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

// Attributes that could run code or load something: refused even when a caller means well.
const UNSAFE = /^(on|style$|src|href|srcdoc|action|formaction)/i;

/** Return the element with this id; a missing one is a bug in index.html. */
export function byId(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`index.html has no #${id}`);
  return node;
}

/** Return a new element. `props`: `class`, `on` ({event: listener}) and attributes; children: nodes or text. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "on")
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else setAttr(node, name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Return a new SVG element with these attributes. */
export function svg(tag, attrs = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attrs)) setAttr(node, name, value);
  node.append(...children);
  return node;
}

/** Return a link to a place of this page. `hash` begins with `#/`, so it can lead nowhere else and run nothing. */
export function link(hash, props = {}, ...children) {
  if (!hash.startsWith("#/")) throw new Error(`not a place of this page: ${hash}`);
  const node = el("a", props, ...children);
  node.href = hash;
  return node;
}

/** Return a link to another origin; anything but http(s) is refused. The address is the daemon's own configuration. */
export function linkOutside(address, props = {}, ...children) {
  const url = new URL(address);
  if (!["http:", "https:"].includes(url.protocol)) throw new Error(`not an address of a page: ${address}`);
  const node = el("a", { ...props, rel: "noreferrer" }, ...children);
  node.href = url.href;
  return node;
}

/** Set, or with null/false remove, an attribute; does nothing when it is unchanged. */
export function setAttr(node, name, value) {
  if (UNSAFE.test(name)) throw new Error(`attribute ${name} is not allowed here`);
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value))
    node.setAttribute(name, value === true ? "" : String(value));
}

/** Set the text; does nothing when it is unchanged, so a selection or a screen reader is not disturbed. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Show or hide. */
export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/**
 * Make the children of `parent` exactly `nodes`, in that order, moving as few as possible: a node that already stands
 * right keeps its focus and its hover.
 */
export function place(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let at = parent.firstElementChild;
  for (const node of nodes) {
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  }
}
