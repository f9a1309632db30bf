/** The place where this page is served, and the few things kept in the browser's local storage under its name. */

/** Path of the page: several servers may share an origin behind a proxy, each under a path of its own. */
export const SCOPE: string = new URL("./", location.href).pathname;

/** True where the browser gives locks, notifications and a service worker: over https, and on this machine. */
export const IS_SECURE: boolean = isSecureContext && "locks" in navigator;

const PREFIX = `parley:${SCOPE}:`;

/** Reads a kept value; undefined where there is none or the browser keeps nothing. */
export function kept<T>(key: string): T | undefined {
  try {
    const text = localStorage.getItem(PREFIX + key);
    return text === null ? undefined : JSON.parse(text) as T;
  } catch {
    return undefined;
  }
}

/** Keeps a value, or removes it where it is undefined. Returns whether the browser did. */
export function keep(key: string, value: unknown): boolean {
  try {
    if (value === undefined) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** Reads a value that is kept for this tab alone, until it is closed. */
export function keptInTab<T>(key: string): T | undefined {
  try {
    const text = sessionStorage.getItem(PREFIX + key);
    return text === null ? undefined : JSON.parse(text) as T;
  } catch {
    return undefined;
  }
}

/** Keeps a value for this tab alone. */
export function keepInTab(key: string, value: unknown): void {
  try {
    if (value === undefined) sessionStorage.removeItem(PREFIX + key);
    else sessionStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch { /* the tab asks again when it is loaded again */ }
}

/** Returns the keys that begin with `start`. */
export function keptKeys(start = ""): string[] {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX + start)).map((key) => key.slice(PREFIX.length));
  } catch {
    return [];
  }
}

/** Calls `changed` with each key that another tab changes. */
export function onKept(changed: (key: string) => void): void {
  addEventListener("storage", ({ key }) => {
    if (key?.startsWith(PREFIX)) changed(key.slice(PREFIX.length));
  });
}

/** Returns a random id of 32 hexadecimal digits. Browsers have no `randomUUID` over plain http. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
