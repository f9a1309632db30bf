/** Audits of a page with axe-core, which is put in by the driver: the page's own policy lets nothing else in. */

import axe from "axe-core";
import type { Page } from "playwright-core";

/** Rules of WCAG 2.2, levels A and AA. */
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

/** Throws where axe finds something against the rules. `where` names the state of the page. */
export async function auditPage(page: Page, where: string): Promise<void> {
  // What the driver evaluates is not held to the page's policy.
  await page.evaluate(`globalThis.axe ?? (() => { ${axe.source} })()`);
  const found = await page.evaluate(async (tags) => {
    const { axe: loaded } = globalThis as unknown as { axe: typeof axe };
    const { violations } = await loaded.run(document, { runOnly: { type: "tag", values: tags } });
    const words = (nodes: (typeof violations)[number]["nodes"]) =>
      nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`);
    return violations.map(({ id, nodes }) => `${id}: ${words(nodes).join(" | ")}`);
  }, TAGS);
  if (found.length > 0) throw new Error(`axe finds in ${where}:\n${found.join("\n")}`);
}
