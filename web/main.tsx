/** The page: finds out who somebody is, joins the other tabs, and draws. */

import { effect } from "@preact/signals";
import { render } from "preact";
import { type Account, accountInAddress, deviceName, forgetAccount, keepAccount, keptAccount } from "./account.ts";
import * as actions from "./actions.ts";
import { Core } from "./core.ts";
import { findDrafts } from "./drafts.ts";
import { startNotifying } from "./notify.ts";
import { IS_SECURE, kept, onKept } from "./place.ts";
import { addressOf, routed } from "./route.ts";
import * as state from "./state.ts";
import { Store } from "./store.ts";
import { Tab } from "./tabs/channel.ts";
import type { Snapshot } from "./tabs/words.ts";
import { take, takeSnapshot } from "./told.ts";
import { App } from "./ui/app.tsx";
import { registerWorker } from "./worker_client.ts";

// Before anything that takes its time: a token does not stay in the address.
const asked = accountInAddress();
const store = await Store.open();

function begin(account: Account): void {
  keepAccount(account);
  state.account.value = account;
  findDrafts();
  const tab = new Tab(account.user, {
    told: (told) => take(told, tab.isLeading),
    async lead(tell) {
      // Another tab may have been given a newer token.
      const core = new Core(keptAccount() ?? account, deviceName(), store, tell);
      await core.start();
      return core;
    },
    async followed() {
      takeSnapshot(await tab.call({ do: "snapshot" }) as Snapshot);
      if (state.connection.value.phase === "online") actions.refresh();
    },
    signedOut,
  });
  actions.useTab(tab, store);
  startNotifying(tab, registerWorker());
  void actions.showKept();
  tab.start();
  void tab.call({ do: "snapshot" }).then((snapshot) => {
    takeSnapshot(snapshot as Snapshot);
    if (state.connection.value.phase === "online") actions.refresh();
  });
  addEventListener("hashchange", () => actions.open(routed()));
  actions.open(routed());
  effect(() => actions.lookAt(state.isSeen.value ? state.current.value : undefined));
}

/** Begins anew, as somebody has signed out in another tab. */
function signedOut(): void {
  store.close();
  forgetAccount();
  location.reload();
}

/** Takes the account of a link that was followed, or pasted, while the page was open: it is not loaded again then. */
function takeFromAddress(): void {
  const given = accountInAddress();
  if (given === undefined) return;
  if (!state.account.value) return begin(given);
  history.replaceState(null, "", addressOf(state.current.value));
  actions.takeLinked(given);
}

/** Follows the window: who looks at it, and when it may have slept. */
function watchWindow(): void {
  const look = () => {
    state.isSeen.value = state.isInFront();
    if (state.account.value && document.visibilityState === "visible") actions.lookNow();
  };
  addEventListener("focus", () => state.isSeen.value = state.isInFront());
  addEventListener("blur", () => state.isSeen.value = false);
  document.addEventListener("visibilitychange", look);
  document.addEventListener("resume", look);
  addEventListener("pageshow", look);
  addEventListener("online", look);
  addEventListener("pagehide", () => state.isSeen.value = false);
  setInterval(() => state.minute.value = Math.floor(Date.now() / 60_000), 10_000);
}

/** Makes the page as high as what is not covered by a keyboard, where the browser does not. */
function watchKeyboard(): void {
  const { visualViewport } = globalThis;
  visualViewport?.addEventListener("resize", () => {
    const { style } = document.documentElement;
    if (visualViewport.scale > 1) style.removeProperty("--height"); // somebody looks closer
    else style.setProperty("--height", `${visualViewport.height}px`);
    scrollTo(0, 0);
  });
}

effect(() => {
  const { theme } = state.settings.value;
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
});
onKept((key) => {
  if (key === "settings") state.reloadSettings();
  if (key.startsWith("draft ")) findDrafts();
  // Tabs that share no connection are not told otherwise.
  if (key === "account" && !IS_SECURE && state.account.value && kept(key) === undefined) signedOut();
});
watchWindow();
watchKeyboard();
addEventListener("hashchange", takeFromAddress);
const known = keptAccount(), account = known ?? asked;
if (account) begin(account);
if (known && asked) actions.takeLinked(asked);
render(<App onAccount={begin} />, document.getElementById("page")!);
