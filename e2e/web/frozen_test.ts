/**
 * Pages that the browser freezes, as it does with tabs in the background and as a machine does that sleeps. Chromium freezes only
 * what it does not show, and playwright has it show everything: these are driven by puppeteer, which leaves that alone.
 */

import { assert, assertEquals } from "@std/assert";
import { deadline } from "@std/async/deadline";
import puppeteer, { type Browser, type CDPSession, type Page } from "puppeteer-core";
import { lacksProgram } from "../../testing/permissions.ts";
import { CHROMIUM, CHROMIUM_FLAGS } from "./chromium.ts";
import { TEST_MS } from "./harness.ts";
import { PATIENCE_MS, World } from "./world.ts";

/** Milliseconds from looking at a page until it has given up a connection that died, and made another. */
const BACK_MS = 2_000;

function frozenTest(name: string, run: (world: World, browser: Browser) => Promise<void>): void {
  Deno.test({
    name,
    ignore: lacksProgram(CHROMIUM),
    fn: async () => {
      await using world = await World.start();
      const browser = await puppeteer.launch({ executablePath: CHROMIUM, args: [...CHROMIUM_FLAGS], headless: true });
      await using _ = { [Symbol.asyncDispose]: () => browser.close() };
      await deadline(run(world, browser), TEST_MS);
      await world.close();
    },
  });
}

frozenTest(
  "7: a page that slept while its connection died is there within two seconds, with everything",
  async (world, browser) => {
    const bob = await world.person("bob");
    const way = world.use(new Way(world.port));
    const page = await open(browser, `http://127.0.0.1:${way.port}/#name=alice`);
    await page.evaluate(() => location.hash = "#/bob");
    await bob.say("alice", "before");
    await sees(page, "before");
    await page.evaluate(() => {
      const log = globalThis as unknown as { lookedAt: number; backMs: number };
      const { WebSocket } = globalThis;
      globalThis.WebSocket = class extends WebSocket {
        constructor(url: string | URL, protocols?: string | string[]) {
          log.backMs = performance.now() - log.lookedAt;
          super(url, protocols);
        }
      };
      document.addEventListener("visibilitychange", () => log.lookedAt = performance.now());
    });
    await (await browser.newPage()).bringToFront();
    const session = await freeze(page);
    way.lose(); // neither side is told, as where a network has gone
    await bob.sayAll("alice", ["first", "second"]);
    await thaw(session);
    await page.bringToFront();
    await sees(page, "second");
    assertEquals(await page.$$eval(".row .text", (texts) => texts.map((text) => text.textContent)), [
      "before",
      "first",
      "second",
    ]);
    const backMs = await page.evaluate(() => (globalThis as unknown as { backMs: number }).backMs);
    assert(backMs < BACK_MS, `took ${backMs} ms`);
  },
);

frozenTest("8: a leading tab that the browser has frozen is replaced, and follows when it goes on", async (world, browser) => {
  const bob = await world.person("bob");
  const leader = await open(browser, `${world.address}#name=alice`);
  await leader.evaluate(() => location.hash = "#/bob");
  const second = await open(browser, `${world.address}#name=alice`);
  await second.evaluate(() => location.hash = "#/bob");
  await second.waitForSelector("#message");
  const session = await freeze(leader);
  await write(second, "is anybody leading?");
  await bob.until(({ texts }) => texts.length > 0);
  await bob.say("alice", "I am here");
  await sees(second, "I am here");
  await thaw(session);
  await bob.say("alice", "both see this");
  await sees(second, "both see this");
  await leader.bringToFront();
  await sees(leader, "both see this");
  await write(leader, "from the one that was frozen");
  await bob.until(({ texts }) => texts.length > 1);
  assertEquals(bob.texts, ["is anybody leading?", "from the one that was frozen"]);
  for (const page of [leader, second]) await page.waitForFunction(() => document.querySelector(".banner") === null);
});

/** Opens a tab, and waits until it is online. */
async function open(browser: Browser, address: string): Promise<Page> {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(address);
  await page.waitForFunction(() => document.querySelector(".self-name .sub")?.textContent === "online");
  return page;
}

async function sees(page: Page, text: string): Promise<void> {
  await page.waitForFunction((text) => document.querySelector(".log")?.textContent?.includes(text), {}, text);
}

async function write(page: Page, text: string): Promise<void> {
  await page.focus("#message");
  await page.keyboard.type(text);
  await page.keyboard.press("Enter");
}

/** Freezes a tab that is not in front; resolves when it has stopped. */
async function freeze(page: Page): Promise<CDPSession> {
  await page.waitForFunction(() => document.visibilityState === "hidden", { polling: 50 });
  const session = await page.createCDPSession();
  await page.evaluate(() => document.addEventListener("freeze", () => document.title = "frozen"));
  await session.send("Page.setWebLifecycleState", { state: "frozen" });
  while (await page.title() !== "frozen");
  return session;
}

async function thaw(session: CDPSession): Promise<void> {
  await session.send("Page.setWebLifecycleState", { state: "active" });
}

/** A way to a server which can be lost: what goes over it then gets nowhere, and only new connections are good. */
class Way implements AsyncDisposable {
  readonly port: number;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #ends = new Set<Deno.TcpConn>();
  readonly #running: Promise<unknown>;
  /** Number of times that it was lost. */
  #losses = 0;

  constructor(port: number) {
    this.port = this.#listener.addr.port;
    this.#running = this.#accept(port);
  }

  /** Loses everything that is on the way, and what will be sent over the connections there are. */
  lose(): void {
    this.#losses++;
  }

  async #accept(port: number): Promise<void> {
    const pipes: Promise<unknown>[] = [];
    for await (const near of this.#listener) {
      const far = await Deno.connect({ hostname: "127.0.0.1", port });
      pipes.push(this.#pipe(near, far), this.#pipe(far, near));
    }
    await Promise.all(pipes);
  }

  async #pipe(from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
    const losses = this.#losses;
    this.#ends.add(from);
    try {
      for (const bytes = new Uint8Array(65_536);;) {
        const count = await from.read(bytes);
        if (count === null) break;
        if (losses !== this.#losses) continue;
        for (let sent = 0; sent < count;) sent += await to.write(bytes.subarray(sent, count));
      }
      if (losses === this.#losses) await to.closeWrite();
    } catch { /* an end is closed */ }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const end of this.#ends) end.close();
    await this.#running.catch(() => {});
  }
}
