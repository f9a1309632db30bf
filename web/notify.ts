/** Notifications and the count in the title. The leading tab notifies, so that there is one of each message. */

import { effect } from "@preact/signals";
import { addressOf } from "./route.ts";
import { choose, isGroup, settings, unreadTotal } from "./state.ts";
import type { Tab } from "./tabs/channel.ts";
import type { Stored } from "./tabs/words.ts";
import { oneLine } from "./text.ts";

/** Characters of a message in a notification; systems cut it earlier. */
const BODY_CHARS = 200;

let tab: Tab;
let worker: ServiceWorkerRegistration | undefined;
const shown = new Map<string, Notification>();

/** Returns whether this browser can notify. */
export function canNotify(): boolean {
  return "Notification" in globalThis && isSecureContext;
}

/** Begins to notify, and to count in the title. */
export function startNotifying(leading: Tab, registered: Promise<ServiceWorkerRegistration | undefined>): void {
  tab = leading;
  void registered.then((registration) => worker = registration);
  effect(() => {
    const count = unreadTotal.value;
    document.title = count > 0 ? `(${count}) Parley` : "Parley";
  });
}

/** Asks for permission, which browsers give after a click only. Returns words where it was not given. */
export async function allowNotifications(): Promise<string | undefined> {
  const permission = await Notification.requestPermission();
  choose({ notify: permission === "granted" });
  if (permission === "granted") return undefined;
  return "This browser does not let Parley notify you. The settings of this site, beside its address, change that";
}

/** Notifies of a message, unless somebody looks at its conversation. */
export async function notifyOf(message: Stored, conversation: string): Promise<void> {
  if (!settings.value.notify || !canNotify() || Notification.permission !== "granted") return;
  if (await tab.isLookedAt(conversation)) return;
  const title = isGroup(conversation) ? `${message.sender} in ${conversation}` : message.sender;
  const options = {
    body: oneLine(message.content, BODY_CHARS),
    tag: conversation,
    data: { address: new URL(addressOf(conversation), document.baseURI).href },
  };
  if (worker?.active) return await worker.showNotification(title, options);
  const notification = new Notification(title, options);
  notification.onclick = () => {
    globalThis.focus();
    location.hash = addressOf(conversation);
    notification.close();
  };
  shown.set(conversation, notification);
}

/** Closes the notification of a conversation that was read. */
export async function closeNotification(conversation: string): Promise<void> {
  shown.get(conversation)?.close();
  shown.delete(conversation);
  for (const notification of await worker?.getNotifications({ tag: conversation }) ?? []) notification.close();
}
