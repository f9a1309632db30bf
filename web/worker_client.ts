/** The service worker, as the page sees it. */

/** Maker of script addresses, in browsers with Trusted Types. */
interface Policies {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string };
}

/** Registers the worker; undefined where the browser has none. */
export async function registerWorker(): Promise<ServiceWorkerRegistration | undefined> {
  if (!("serviceWorker" in navigator)) return undefined;
  const { trustedTypes } = globalThis as unknown as { trustedTypes?: Policies };
  // The one address that this page makes a script of.
  const policy = trustedTypes?.createPolicy("parley", { createScriptURL: () => "./worker.js" });
  try {
    return await navigator.serviceWorker.register(policy?.createScriptURL("") ?? "./worker.js", { updateViaCache: "none" });
  } catch {
    return undefined; // a browser that was told to keep nothing
  }
}
