// The page: signs in, connects the feed, and puts the views on the store.

import { AgentsView } from "./agents.js";
import { AlertsView } from "./alerts.js";
import { CutoffView } from "./cutoff.js";
import { byId, setAttr, setText, show } from "./dom.js";
import { Feed } from "./feed.js";
import { Header } from "./header.js";
import { Panel } from "./panel.js";
import { Refresher } from "./refresh.js";
import * as session from "./session.js";
import { Store } from "./store.js";

const store = new Store();
const refresher = new Refresher(store, {
  isLive: () => store.connection.state === "live",
  onError: signOutIfRefused,
});
const panel = new Panel(store, () => refresher.fetch("agents", "revocations"));
const open = (mode, target) => panel.open(mode, target);
const feed = new Feed({ onMessage: receive, onState: connected, onRefused: () => refresher.fetch("agents") });

new Header(store, () => feed.start());
new AgentsView(store, open);
new CutoffView(store, open);
new AlertsView(store, open);

let hasAlerts = false;

function receive(message) {
  store.receive(message);
  if (message.type === "transition") refresher.fetch("agents", "revocations");
  if (message.type !== "status") return;
  if (message.status?.missed) refresher.all();
  // Points come and go without a message of their own; a kill panel must not count on those that are gone.
  else if (message.status?.points_live !== store.points.filter((point) => point.live).length)
    refresher.fetch("revocations");
}

function connected(state, retryAtMs) {
  store.setConnection(state, retryAtMs);
  if (state !== "live") return;
  // Alerts only the first time: after a reconnect the feed brings what was missed, in order.
  refresher.fetch("agents", "revocations", ...(hasAlerts ? [] : ["alerts"]));
  hasAlerts = true;
}

function signIn(problem = null) {
  feed.stop();
  feed.rewind();
  hasAlerts = false;
  store.clear();
  setText(byId("sign-in-problem"), problem ?? "");
  show(byId("sign-in-problem"), problem !== null);
  showBoard(false);
  byId("token").focus();
}

function signOutIfRefused(error) {
  if (!error.isUnauthorised || session.token() === null) return;
  session.forget();
  byId("panel").close();
  signIn("The daemon does not know this token. Tokens change when its state directory does.");
}

function showBoard(isSignedIn) {
  show(byId("board"), isSignedIn);
  show(byId("stats"), isSignedIn);
  show(byId("connection"), isSignedIn);
  show(byId("leave"), isSignedIn);
  show(byId("sign-in"), !isSignedIn);
}

function begin() {
  const fromLink = session.adoptFragment();
  if (session.token() === null) return signIn(fromLink === false ? "This link holds no usable token." : null);
  showBoard(true);
  feed.start();
}

byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const isToken = session.remember(byId("token").value);
  byId("token").value = "";
  if (isToken) begin();
  else signIn("This is not a token: they have no spaces and at least eight characters.");
});

byId("leave").addEventListener("click", () => {
  session.forget();
  signIn();
});

for (const tab of document.querySelectorAll(".tabs button")) {
  tab.addEventListener("click", () => {
    setAttr(document.body, "data-view", tab.dataset.view);
    for (const other of document.querySelectorAll(".tabs button"))
      setAttr(other, "aria-pressed", String(other === tab));
  });
}

window.addEventListener("hashchange", () => {
  if (!session.adoptFragment()) return;
  signIn();
  begin();
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && store.connection.state === "live")
    refresher.fetch("agents", "revocations");
});

begin();
