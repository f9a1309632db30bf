/** Looks whether the server has another version of this page, after each connection but the first. */

import { isOutdated } from "./state.ts";

let isFirst = true;

/** Asks for the page, and compares the name of its script with the one that runs. */
export function lookForNewPage(): void {
  if (isFirst) {
    isFirst = false;
    return;
  }
  void isReplaced().then((replaced) => isOutdated.value ||= replaced);
}

async function isReplaced(): Promise<boolean> {
  const own = document.querySelector("script[src]")?.getAttribute("src");
  try {
    const response = await fetch("./", { headers: { accept: "text/html" }, cache: "no-store" });
    if (!response.ok || !response.headers.get("content-type")?.startsWith("text/html")) return false;
    return own != null && !(await response.text()).includes(own);
  } catch {
    return false; // the connection is gone again
  }
}
