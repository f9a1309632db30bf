/** The same page in Debian's Firefox, driven by puppeteer-core over WebDriver BiDi: what engines do differently. */

import { assert, assertEquals } from "@std/assert";
import { deadline } from "@std/async/deadline";
import puppeteer, { type Page } from "puppeteer-core";
import { lacksProgram } from "../../testing/permissions.ts";
import { TEST_MS } from "./harness.ts";
import { PATIENCE_MS, World } from "./world.ts";

const FIREFOX = "/usr/bin/firefox-esr";

Deno.test({
  name: "Firefox: talks, follows, keeps the view where older messages load, and is one device in two tabs",
  ignore: lacksProgram(FIREFOX),
  fn: async () => {
    await using world = await World.start();
    const browser = await puppeteer.launch({ browser: "firefox", executablePath: FIREFOX, headless: true });
    await using _ = { [Symbol.asyncDispose]: () => browser.close() };
    await deadline(talk(world, await browser.newPage(), () => browser.newPage()), TEST_MS);
    await world.close();
  },
});

async function talk(world: World, page: Page, open: () => Promise<Page>): Promise<void> {
  const bob = await world.person("bob");
  await world.person("alice");
  await bob.sayAll("alice", Array.from({ length: 300 }, (_, index) => `message ${index} ${"word ".repeat(index % 30)}`));
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(`${world.address}#name=alice`);
  await page.waitForFunction(() => document.querySelector(".self-name .sub")?.textContent === "online");
  await page.evaluate(() => location.hash = "#/bob");
  await page.waitForFunction(() => document.querySelector(".log")?.textContent?.includes("message 299"));

  const moved = await page.evaluate(() =>
    new Promise<number>((done) => {
      const log = document.querySelector(".log")!;
      log.scrollTop = 0;
      const edge = log.getBoundingClientRect().top;
      const row = [...log.querySelectorAll("[data-key]")].find((row) => row.getBoundingClientRect().bottom > edge)!;
      const before = row.getBoundingClientRect().top, height = log.scrollHeight;
      const observer = new MutationObserver(() => {
        if (log.scrollHeight === height) return;
        observer.disconnect();
        done(row.getBoundingClientRect().top - before);
      });
      observer.observe(log, { childList: true, subtree: true });
    })
  );
  assertEquals(moved, 0, "at scrollTop 0");

  await page.click("#message");
  await page.keyboard.type("hello from Firefox");
  await page.keyboard.press("Enter");
  await bob.until(({ texts }) => texts.length > 0);
  assertEquals(bob.texts, ["hello from Firefox"]);
  await page.waitForFunction(() => document.querySelector(".mark.delivered, .mark.read") !== null);

  const second = await open();
  second.setDefaultTimeout(PATIENCE_MS);
  await second.goto(`${world.address}#/bob`);
  await second.waitForFunction(() => document.querySelector(".log")?.textContent?.includes("hello from Firefox"));
  await second.click("#message");
  await second.keyboard.type("from the second tab");
  await second.keyboard.press("Enter");
  await bob.until(({ texts }) => texts.length > 1);
  await page.waitForFunction(() => document.querySelector(".log")?.textContent?.includes("from the second tab"));
  await page.close();
  await second.click("#message");
  await second.keyboard.type("and it leads");
  await second.keyboard.press("Enter");
  await bob.until(({ texts }) => texts.length > 2);
  assertEquals(bob.texts, ["hello from Firefox", "from the second tab", "and it leads"]);
  assert(complaints.length === 0, complaints.join("; "));
}
