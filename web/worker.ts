/**
 * The service worker: keeps the shell of the page, so that it opens without a connection, and opens conversations from
 * notifications. It never answers with what is kept where the server answers: a new page is there at the next visit.
 */

/// <reference lib="webworker" />

declare const self: ServiceWorkerGlobalScope;
/** Names of the shell's files, which the build writes here; one that changes is another worker. */
declare const SHELL: readonly string[];
/** Hash of the build. */
declare const BUILD: string;

const CACHE = `parley ${self.registration.scope} ${BUILD}`;
const PAGE = new URL("./", self.registration.scope).href;
/** Statuses of a proxy whose server is away. */
const AWAY_STATUSES = [502, 503, 504];

self.addEventListener("install", (event) => {
  event.waitUntil(keepShell());
});

self.addEventListener("activate", (event) => {
  event.waitUntil(forgetOthers().then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  const url = new URL(request.url);
  if (request.mode === "navigate" && url.origin + url.pathname === PAGE) event.respondWith(page(request));
  else if (url.href.startsWith(PAGE + "assets/")) event.respondWith(asset(request));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(openConversation((event.notification.data as { address: string }).address));
});

async function keepShell(): Promise<void> {
  const cache = await caches.open(CACHE);
  const response = await fetch(PAGE, { headers: { accept: "text/html" }, cache: "no-store" });
  if (!response.ok || !response.headers.get("content-type")?.startsWith("text/html")) throw new Error("The page is not served");
  await cache.put(PAGE, response);
  await cache.addAll(SHELL.map((path) => new URL(path, PAGE).href));
  await self.skipWaiting();
}

async function forgetOthers(): Promise<void> {
  const own = `parley ${self.registration.scope} `;
  for (const name of await caches.keys()) if (name.startsWith(own) && name !== CACHE) await caches.delete(name);
}

async function page(request: Request): Promise<Response> {
  try {
    const response = await fetch(request);
    if (!AWAY_STATUSES.includes(response.status)) return response;
    return await caches.match(PAGE) ?? response;
  } catch (error) {
    const kept = await caches.match(PAGE);
    if (kept) return kept;
    throw error;
  }
}

async function asset(request: Request): Promise<Response> {
  return await caches.match(request) ?? await fetch(request);
}

async function openConversation(address: string): Promise<void> {
  const pages = await self.clients.matchAll({ type: "window" });
  const [shown] = pages.toSorted((a, b) => Number(b.focused) - Number(a.focused));
  if (!shown) return void await self.clients.openWindow(address);
  await shown.focus();
  await shown.navigate(address).catch(() => {});
}
