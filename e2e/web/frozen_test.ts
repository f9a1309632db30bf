/**
 * Pages that the browser freezes for two minutes, as it does with tabs in the background and as a machine does that sleeps. Chromium
 * freezes only what it does not show, and playwright has it show everything: these are driven by puppeteer, which leaves that alone.
 *
 * Both sleep at the same time, and e2e/web_test.ts runs this file beside the others.
 */

import { assert, assertEquals } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { delay } from "@std/async/delay";
import puppeteer, { type Browser, type BrowserContext, type CDPSession, type Page } from "puppeteer-core";
import { lacksProgram } from "../../testing/permissions.ts";
import { CHROMIUM, CHROMIUM_FLAGS } from "./chromium.ts";
import { TEST_MS } from "./harness.ts";
import { PATIENCE_MS, World } from "./world.ts";

/** Milliseconds that a page sleeps at least, by a clock that nobody sets. */
const SLEEP_MS = 120_000;
/** Milliseconds from the end of a page's sleep until it has given up a connection that died, and makes another. */
const BACK_MS = 2_000;

Deno.test({
  name: "7 and 8: pages that slept for two minutes are there at once, with everything, and held up no other tab",
  ignore: lacksProgram(CHROMIUM),
  fn: async () => {
    await using world = await World.start();
    const browser = await puppeteer.launch({ executablePath: CHROMIUM, args: [...CHROMIUM_FLAGS], headless: true });
    await using _ = { [Symbol.asyncDispose]: () => browser.close() };
    await deadline(Promise.all([sleepAlone(world, browser), sleepLeading(world, browser)]), SLEEP_MS + TEST_MS);
    await world.close();
  },
});

/** 7: A page whose connection died while it slept is there within two seconds, with everything. */
async function sleepAlone(world: World, browser: Browser): Promise<void> {
  const tabs = await browser.createBrowserContext();
  const bob = await world.person("bob");
  const way = world.use(new Way(world.port));
  const page = await open(tabs, `http://127.0.0.1:${way.port}/#name=alice`);
  await page.evaluate(() => location.hash = "#/bob");
  await bob.say("alice", "before");
  await sees(page, "before");
  await page.evaluate(() => {
    const log = globalThis as unknown as { wokeAt: number; backMs: number };
    const { WebSocket } = globalThis;
    globalThis.WebSocket = class extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        log.backMs = performance.now() - log.wokeAt;
        super(url, protocols);
      }
    };
    document.addEventListener("resume", () => log.wokeAt = performance.now());
  });
  await (await tabs.newPage()).bringToFront();
  const sleep = await Sleep.begin(page);
  way.lose(); // neither side is told, as where a network has gone
  await bob.say("alice", "first");
  await sleep.pass();
  await bob.say("alice", "second");
  await sleep.end();
  await page.bringToFront();
  await sees(page, "second");
  assertEquals(await page.$$eval(".row .text", (texts) => texts.map((text) => text.textContent)), [
    "before",
    "first",
    "second",
  ]);
  const backMs = await page.evaluate(() => (globalThis as unknown as { backMs: number }).backMs);
  assert(backMs < BACK_MS, `took ${backMs} ms`);
}

/** 8: A leading tab that sleeps is replaced, and follows when it goes on. */
async function sleepLeading(world: World, browser: Browser): Promise<void> {
  const tabs = await browser.createBrowserContext();
  const dan = await world.person("dan");
  const leader = await open(tabs, `${world.address}#name=carol`);
  await leader.evaluate(() => location.hash = "#/dan");
  const second = await open(tabs, `${world.address}#name=carol`);
  await second.evaluate(() => location.hash = "#/dan");
  await second.waitForSelector("#message");
  const sleep = await Sleep.begin(leader);
  await write(second, "is anybody leading?");
  await dan.until(({ texts }) => texts.length > 0);
  await dan.say("carol", "I am here");
  await sees(second, "I am here");
  await sleep.pass();
  await write(second, "and still?");
  await dan.until(({ texts }) => texts.length > 1);
  await sleep.end();
  await dan.say("carol", "both see this");
  await sees(second, "both see this");
  await leader.bringToFront();
  await sees(leader, "both see this");
  await write(leader, "from the one that was frozen");
  await dan.until(({ texts }) => texts.length > 2);
  assertEquals(dan.texts, ["is anybody leading?", "and still?", "from the one that was frozen"]);
  for (const page of [leader, second]) {
    await page.waitForFunction(() => document.querySelector(".banner") === null);
    await page.waitForFunction(() => document.querySelectorAll(".row").length === 5);
  }
}

/** Opens a tab, and waits until it is online. */
async function open(tabs: BrowserContext, address: string): Promise<Page> {
  const page = await tabs.newPage();
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

/** A tab that sleeps. */
class Sleep {
  readonly #page: Page;
  readonly #session: CDPSession;
  readonly #began = performance.now();

  private constructor(page: Page, session: CDPSession) {
    this.#page = page;
    this.#session = session;
  }

  /** Freezes a tab that is not in front; resolves when it has stopped. */
  static async begin(page: Page): Promise<Sleep> {
    await page.waitForFunction(() => document.visibilityState === "hidden", { polling: 50 });
    const session = await page.createCDPSession();
    await page.evaluate(() =>
      document.addEventListener("freeze", () => {
        const began = performance.now();
        document.title = "frozen";
        document.addEventListener("resume", () => document.body.dataset.slept = String(performance.now() - began), {
          once: true,
        });
      })
    );
    await session.send("Page.setWebLifecycleState", { state: "frozen" });
    while (await page.title() !== "frozen");
    return new Sleep(page, session);
  }

  /** Resolves when the tab has slept for long enough. */
  async pass(): Promise<void> {
    await delay(Math.max(0, this.#began + SLEEP_MS - performance.now()));
  }

  /** Lets the tab go on. */
  async end(): Promise<void> {
    await this.#session.send("Page.setWebLifecycleState", { state: "active" });
    await this.#page.waitForSelector("body[data-slept]");
    const slept = await this.#page.$eval("body", ({ dataset }) => Number(dataset.slept));
    assert(slept >= SLEEP_MS, `slept for ${slept} ms`);
  }
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
