/** Debian's Chromium, driven by playwright-core. */

import { type Browser, chromium } from "playwright-core";

/** Flags of a browser that talks to nobody but the page's server. */
export const CHROMIUM_FLAGS: readonly string[] = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Path of the program. */
export const CHROMIUM = "/usr/bin/chromium";

/** Starts a browser without anything of an earlier one. */
export async function startChromium(): Promise<Browser> {
  return await chromium.launch({ executablePath: CHROMIUM, args: [...CHROMIUM_FLAGS] });
}
