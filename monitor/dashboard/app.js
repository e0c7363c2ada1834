// The page: finds out who is there, connects the feed, and puts each view where the router can show it.

import { AgentPage } from "./agent_page.js";
import { AgentsView } from "./agents_view.js";
import { AlertsView } from "./alerts_view.js";
import { Api } from "./api.js";
import { byId, setAttr, show } from "./dom.js";
import { FleetView } from "./fleet_view.js";
import { Header } from "./header.js";
import { Help } from "./help.js";
import { HistoryView } from "./history_view.js";
import { Keys } from "./keys.js";
import { LiveFeed } from "./live.js";
import { MuteDialog } from "./mute_dialog.js";
import { MutesView } from "./mutes_view.js";
import { announce, tell } from "./notice.js";
import { Panel } from "./panel.js";
import { Refresher } from "./refresh.js";
import { Router } from "./router.js";
import { SignIn } from "./session.js";
import { Store } from "./store.js";

/**
 * What every view gets. `me` is who is signed in; it never changes while the page lives: signing in as somebody else
 * loads the page anew.
 *
 * @typedef {Object} Context
 * @property {Store} store
 * @property {Api} api
 * @property {{name: string, role: string, permissions: string[], csrf: string, kill_url: string | null}} me
 * @property {(permission: string) => boolean} may whether this person has the permission
 * @property {string | null} killElsewhere where killing and restoring are answered, if that is not here
 * @property {(hash: string, options?: {replace?: boolean}) => void} go
 * @property {(mode: "kill" | "restore", target: string) => void} openPanel
 * @property {(agentId: string, signal: string) => void} openMute
 * @property {(text: string) => void} announce tell a screen reader
 * @property {(text: string, tone?: "ok" | "bad") => void} tell say what came of an act, for all to see
 * @property {LiveFeed} live
 * @property {(...names: string[]) => void} refresh fetch "agents", "revocations" or "mutes" now
 * @property {Router} router
 * @property {Keys} keys
 */

const VIEWS = [
  ["alerts", "view-alerts", AlertsView],
  ["agents", "view-agents", AgentsView],
  ["agents/", "view-agent", AgentPage],
  ["fleet", "view-fleet", FleetView],
  ["mutes", "view-mutes", MutesView],
  ["history", "view-history", HistoryView],
];

const api = new Api();
const signIn = new SignIn(api);

function begin(me) {
  const store = new Store();
  const live = new LiveFeed({ store, api });
  const refresher = new Refresher(store, api, { isLive: () => store.connection.state === "live" });
  const router = new Router({ onPlace: mark });
  const elsewhere = me.kill_url && new URL(me.kill_url).origin !== location.origin ? me.kill_url : null;
  /** @type {Context} */
  const ctx = {
    store,
    api,
    me,
    router,
    keys: new Keys(),
    may: (permission) => me.permissions.includes(permission),
    killElsewhere: elsewhere,
    go: (hash, options) => router.go(hash, options),
    openPanel: (mode, target) => panel.open(mode, target),
    openMute: (agentId, signal) => muteDialog.open(agentId, signal),
    announce,
    tell,
    refresh: (...names) => refresher.fetch(...names),
    live,
  };
  const panel = new Panel(ctx);
  const muteDialog = new MuteDialog(ctx);
  new Header(ctx);
  for (const [key, id, View] of VIEWS) {
    const root = byId(id);
    router.add(key, new View(ctx, root), root);
  }
  api.onRefused = (error) => {
    live.stop();
    if (error.status === 403) location.reload(); // another tab signed in as somebody else
    else signIn.ended();
  };
  live.onNews = (...names) => refresher.fetch(...names);
  byId("leave").addEventListener("click", () => leave(ctx));
  const help = new Help();
  ctx.keys.anywhere({ "?": () => help.open() });
  byId("help-open").addEventListener("click", () => help.open());
  router.follow();
  live.start();
}

function mark(place) {
  for (const tab of document.querySelectorAll("#tabs a"))
    setAttr(tab, "aria-current", tab.dataset.view === place.name ? "page" : null);
  setAttr(document.body, "data-view", place.name);
}

async function leave(ctx) {
  ctx.live.stop();
  await api.del("/v1/session").catch(() => null); // an unreachable daemon is no reason to stay
  location.reload();
}

function showBoard(isSignedIn) {
  for (const id of ["main", "tabs", "stats", "connection", "who"]) show(byId(id), isSignedIn);
  show(byId("sign-in-page"), !isSignedIn);
}

byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is the view's, not an anchor's
  (document.querySelector("main:not([hidden]) .view:not([hidden])") ?? byId("token")).focus();
});

signIn.begin({
  onAsk: () => showBoard(false),
  onSignedIn: (me) => {
    showBoard(true);
    begin(me);
  },
});
