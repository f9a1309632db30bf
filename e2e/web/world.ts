/** A server, people who talk to it without a browser, and pages of those who have one. */

import { type Browser, type BrowserContext, type BrowserContextOptions, type Page } from "playwright-core";
import { ChatClient, type ReceivedMessage } from "../../chat_client.ts";
import type { ServerFrameOf } from "../../protocol.ts";
import { ServerProcess } from "../../testing/server_process.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
/** Milliseconds that anything may take before the test fails; nothing waits for it to pass. */
export const PATIENCE_MS = 30_000;

/** A server of its own for one test. */
export class World implements AsyncDisposable {
  readonly #started: AsyncDisposable[] = [];
  #server: ServerProcess;
  port = 0;

  private constructor(server: ServerProcess) {
    this.#server = server;
  }

  /** Starts a server, without limits on how fast one may be. `program` is a compiled one. */
  static async start(args: readonly string[] = ["--broker", "memory"], program?: string): Promise<World> {
    const world = new World(startServer(0, args, program));
    world.port = await world.#server.port;
    return world;
  }

  /** Kills the server and starts another on the same port. */
  async restart(args: readonly string[]): Promise<void> {
    await this.stop();
    this.#server = startServer(this.port, args);
    await this.#server.port;
  }

  /** Kills the server. */
  async stop(): Promise<void> {
    await this.#server.stop();
  }

  /** Address of the page. */
  get address(): string {
    return `http://127.0.0.1:${this.port}/`;
  }

  /** Address of the socket. */
  get url(): string {
    return `ws://127.0.0.1:${this.port}/ws`;
  }

  /** Connects somebody without a browser. */
  async person(name: string, options: { readonly device?: string; readonly token?: string } = {}): Promise<Person> {
    const person = new Person(this.url, name, options.device ?? "test", options.token);
    this.#started.push(person);
    await person.ready;
    return person;
  }

  /** Opens a browser profile of its own, whose pages are checked for complaints. */
  async profile(browser: Browser, options: BrowserContextOptions = {}): Promise<Profile> {
    const context = await browser.newContext({ viewport: { width: 1100, height: 760 }, ...options });
    context.setDefaultTimeout(PATIENCE_MS);
    const profile = new Profile(context, this);
    this.#started.push(profile);
    return profile;
  }

  /** Ends something of the test's own in its turn: after the pages that were opened since, so that none of them misses it. */
  use<T extends AsyncDisposable>(started: T): T {
    this.#started.push(started);
    return started;
  }

  /** Ends people and profiles, the last first. Rejects where a page complained. */
  async close(): Promise<void> {
    for (const started of this.#started.splice(0).reverse()) await started[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    await this.#server[Symbol.asyncDispose]();
  }
}

function startServer(port: number, args: readonly string[], program?: string): ServerProcess {
  const run = program === undefined ? ["run", "--quiet", "-A", "--config", `${ROOT}deno.json`, `${ROOT}server.ts`] : [];
  return new ServerProcess(program ?? Deno.execPath(), [
    ...[...run, "--port", String(port), "--rate", "0", "--sender-bytes-per-day", "0"],
    ...["--max-upgrades-per-second", "0", "--max-connections-per-address", "0", ...args],
  ]);
}

/** Somebody who talks without a browser. */
export class Person implements AsyncDisposable {
  readonly client: ChatClient;
  readonly messages: ReceivedMessage[] = [];
  readonly receipts: ServerFrameOf<"receipt">[] = [];
  readonly ready: Promise<void>;
  #changed: () => void = () => {};

  constructor(url: string, name: string, device: string, token: string | undefined) {
    let isReady = () => {};
    this.ready = new Promise((resolve) => isReady = resolve);
    this.client = new ChatClient({
      url,
      name,
      device,
      ...token === undefined ? {} : { token },
      message: (message) => {
        this.messages.push(message);
        this.#changed();
      },
      receipt: (receipt) => {
        this.receipts.push(receipt);
        this.#changed();
      },
      synced: () => isReady(),
    });
    this.client.connect();
  }

  /** Sends a message; resolves when the server has it. */
  async say(to: string, content: string): Promise<number> {
    return (await this.client.send(to, content).acked).seq;
  }

  /** Sends many messages; resolves when the server has all. */
  async sayAll(to: string, contents: readonly string[]): Promise<void> {
    await Promise.all(contents.map((content) => this.say(to, content)));
  }

  /** Resolves when `has` is true of what came. */
  async until(has: (person: Person) => boolean): Promise<void> {
    const end = AbortSignal.timeout(PATIENCE_MS);
    while (!has(this)) {
      await new Promise<void>((resolve, reject) => {
        this.#changed = resolve;
        end.addEventListener("abort", () => reject(new Error("What was waited for did not come")), { once: true });
      });
    }
  }

  /** Texts that came, in their order. */
  get texts(): string[] {
    return this.messages.map(({ content }) => content);
  }

  /** Position up to which somebody has read what this person wrote. */
  readBy(user: string): number {
    return Math.max(-1, ...this.receipts.filter((r) => r.kind === "read" && r.user === user).map(({ seq }) => seq));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
  }
}

/** A browser profile: pages in it are tabs of one browser. */
export class Profile implements AsyncDisposable {
  readonly context: BrowserContext;
  readonly #world: World;
  /** Everything that a page should not do: errors, and requests that leave the server. */
  readonly complaints: string[] = [];
  /** Complaints that a test brings about on purpose. */
  readonly expected: RegExp[] = [];

  constructor(context: BrowserContext, world: World) {
    this.context = context;
    this.#world = world;
  }

  /** Opens a tab. `hash` is what stands behind the address. */
  async open(hash = "", address = this.#world.address): Promise<Page> {
    const page = await this.context.newPage();
    const { origin } = new URL(address);
    page.on("console", (message) => {
      if (message.type() === "error") this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("request", (request) => {
      if (!request.url().startsWith(origin + "/")) this.complaints.push(`asked for ${request.url()}`);
    });
    await page.goto(address + hash);
    return page;
  }

  /** Opens a tab as somebody, and waits until they are online. */
  async as(name: string, conversation?: string, address?: string): Promise<Page> {
    const page = await this.open(`#name=${name}`, address);
    await page.locator(".self-name .sub", { hasText: "online" }).waitFor();
    if (conversation !== undefined) await enter(page, conversation);
    return page;
  }

  /** Complaints that nothing explains. */
  get unexpected(): string[] {
    return this.complaints.filter((complaint) => !this.expected.some((pattern) => pattern.test(complaint)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.context.close();
    const { unexpected } = this;
    if (unexpected.length > 0) throw new Error(`The page complained: ${unexpected.join("; ")}`);
  }
}

/** Opens a conversation in a page, as a link to it does. */
export async function enter(page: Page, conversation: string): Promise<void> {
  await page.evaluate((name) => location.hash = `#/${encodeURIComponent(name)}`, conversation);
  await page.locator(".conversation h2", { hasText: conversation }).waitFor();
  await page.locator(".log").waitFor();
}

/** Writes into the composer and sends. */
export async function write(page: Page, text: string): Promise<void> {
  await page.locator("#message").fill(text);
  await page.locator("#message").press("Control+Enter");
}

/** Waits until a message with this text is shown. */
export async function sees(page: Page, text: string): Promise<void> {
  await page.locator(".row .text", { hasText: text }).last().waitFor();
}

/** Resolves when something that has no event is so; looks again with every turn. `page.waitForFunction` takes a promise for true. */
export async function until(isSo: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!await isSo()) if (performance.now() > end) throw new Error("It did not become so");
}

/** Resolves when the page has drawn twice: what it does of itself after a change is done then. */
export async function drawn(page: Page): Promise<void> {
  await page.evaluate(() => new Promise<void>((done) => requestAnimationFrame(() => requestAnimationFrame(() => done()))));
}
