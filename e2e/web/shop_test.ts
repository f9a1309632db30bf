/** The page of examples/shop, with the client as npm packs it. */

import { assertEquals } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { lacksProgram } from "../../testing/permissions.ts";
import { Shop } from "../../testing/shop.ts";
import { CHROMIUM, startChromium } from "./chromium.ts";

/** Milliseconds for the test; it takes a few seconds. */
const TEST_MS = 60_000;

Deno.test({
  name: "A customer of the shop logs in, orders, sees what the shop writes, and what was written before",
  ignore: lacksProgram(CHROMIUM) || lacksProgram("npm") || lacksProgram("node"),
  fn: async () => {
    await using shop = await Shop.open();
    const browser = await startChromium();
    await using _ = { [Symbol.asyncDispose]: () => browser.close() };
    await deadline(useShop(), TEST_MS);

    async function useShop(): Promise<void> {
      const page = await browser.newPage();
      const complaints: string[] = [];
      page.on("pageerror", (error) => complaints.push(error.message));
      page.on("console", (message) => {
        // The shop has no icon.
        if (message.type() === "error" && !message.location().url.endsWith("/favicon.ico")) complaints.push(message.text());
      });
      await page.goto(shop.address);
      await page.getByLabel("Name").fill("alice");
      await page.getByLabel("Password").fill("wonderland");
      await page.getByRole("button", { name: "Log in" }).click();
      await page.getByRole("status").filter({ hasText: "online" }).waitFor();
      await page.getByRole("button", { name: "Order something" }).click();
      const log = page.getByRole("log");
      await log.getByText("shop: Your order 1 is on its way").waitFor();
      await page.getByRole("textbox").fill("<b>thank you</b>");
      await page.getByRole("button", { name: "Send" }).click();
      await log.getByText("alice: <b>thank you</b>", { exact: true }).waitFor();
      await page.reload();
      await log.getByText("shop: Your order 1 is on its way").waitFor(); // either may come first: what was sent lately, or the past
      await log.getByText("alice: <b>thank you</b>", { exact: true }).waitFor();
      assertEquals(await log.getByRole("listitem").allTextContents(), [
        "shop: Your order 1 is on its way",
        "alice: <b>thank you</b>",
      ]);
      assertEquals(complaints, []);
    }
  },
});
