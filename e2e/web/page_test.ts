/** Complaints that concern the page itself, by their number, and what else it does: tokens, offline, other addresses. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { BrowserContext, Page } from "playwright-core";
import { browserTest } from "./harness.ts";
import { lacksProgram } from "../../testing/permissions.ts";
import { certificate, filesIn } from "../../testing/certificate.ts";
import { CHROMIUM, startChromium } from "./chromium.ts";
import { drawn, enter, sees, until, World, write } from "./world.ts";
import { auditPage } from "./axe.ts";

browserTest("9: the keyboard of a phone covers nothing", async (world, browser) => {
  await world.person("bob");
  const options = { hasTouch: true, isMobile: true, viewport: { width: 390, height: 700 } };
  const page = await (await world.profile(browser, options)).as("alice", "bob");
  assertMatch((await page.locator("meta[name=viewport]").getAttribute("content"))!, /interactive-widget=resizes-content/);
  assert(!(await page.locator("meta[name=viewport]").getAttribute("content"))!.includes("user-scalable"));
  const sizes = await page.locator("input, textarea, select").evaluateAll((fields) =>
    fields.map((field) => Number.parseFloat(getComputedStyle(field).fontSize))
  );
  assert(sizes.every((size) => size >= 16), `iOS zooms into ${sizes}`);

  const places = () =>
    page.evaluate(() => {
      const box = (selector: string) => document.querySelector(selector)!.getBoundingClientRect();
      return { head: box(".conversation .bar").top, composer: Math.round(box(".composer").bottom) };
    });
  await page.setViewportSize({ width: 390, height: 380 }); // as browsers do that resize the content
  assertEquals(await places(), { head: 0, composer: 380 });
  await page.setViewportSize({ width: 390, height: 700 });
  await page.evaluate(() => { // as iOS does, which resizes nothing but this
    Object.defineProperty(visualViewport, "height", { value: 420, configurable: true });
    visualViewport!.dispatchEvent(new Event("resize"));
  });
  assertEquals(await places(), { head: 0, composer: 420 });
});

browserTest("12: a page never mixes with another version, and says that there is one", async (world, browser) => {
  const html = await (await fetch(world.address, { headers: { accept: "text/html" } })).text();
  const [, script] = /src="(assets\/page-[^"]+)"/.exec(html)!;
  const gone = await fetch(world.address + script!.replace(/-[0-9a-f]+/, "-0000000000"));
  assertEquals([gone.status, gone.headers.get("content-type")], [404, "text/plain; charset=utf-8"]);
  await gone.body?.cancel();

  await world.person("bob");
  const profile = await world.profile(browser);
  profile.expected.push(/WebSocket|ERR_CONNECTION|Failed to load/);
  const page = await profile.as("alice", "bob");
  await page.locator("#message").fill("half a thought");
  await profile.context.route(world.address, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: (await response.text()).replace(script!, "assets/page-other.js") });
  });
  await world.restart(["--broker", "memory"]);
  await page.getByText("newer version of this page").waitFor();
  await profile.context.unroute(world.address);
  await page.getByRole("button", { name: "Reload" }).click();
  await page.locator("#message").waitFor();
  assertEquals(await page.locator("#message").inputValue(), "half a thought");
});

/** Makes a token of HS256 that holds for some seconds. */
async function makeToken(name: string, seconds: number, secret = SECRET_TEXT): Promise<string> {
  const text = (value: unknown) =>
    new TextEncoder().encode(JSON.stringify(value)).toBase64({ alphabet: "base64url", omitPadding: true });
  const signed = `${text({ alg: "HS256" })}.${text({ sub: name, exp: Math.floor(Date.now() / 1_000) + seconds })}`;
  const bytes = new TextEncoder().encode(secret);
  const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signature = new Uint8Array(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(signed)));
  return `${signed}.${signature.toBase64({ alphabet: "base64url", omitPadding: true })}`;
}

const SECRET_TEXT = "a secret for tests that is long enough for HS256";
const SECRET = await Deno.makeTempFile();
await Deno.writeTextFile(SECRET, SECRET_TEXT);
globalThis.addEventListener("unload", () => Deno.removeSync(SECRET));
const HOUR_S = 3_600;
/** Seconds that the server lets clocks differ. */
const TOLERANCE_S = 30;
/** Seconds that a token lasts which ends in mid-sentence. */
const SENTENCE_S = 6;

browserTest("A token in the fragment of the address signs in, and is taken out of it at once", async (world, browser) => {
  const page = await (await world.profile(browser)).open(`#token=${await makeToken("alice", HOUR_S)}`);
  await page.locator(".self-name .sub", { hasText: "online" }).waitFor();
  assertEquals(page.url(), world.address);
  await page.evaluate(() => location.hash = "#/alice");
  await page.goBack();
  assertEquals(page.url(), world.address, "it is not in the history either");
}, ["--broker", "memory", "--jwt-secret-file", SECRET]);

browserTest("A token does not stay in the address while a page begins, or that is open already", async (world, browser) => {
  const profile = await world.profile(browser);
  const slow = await profile.context.newPage();
  await slow.addInitScript(() => {
    IDBOpenDBRequest.prototype.addEventListener = () => {}; // as if what this browser keeps never opened
  });
  await slow.goto(`${world.address}#token=${await makeToken("alice", HOUR_S)}`);
  await slow.waitForFunction(() => location.hash === "");
  await slow.close();

  const page = await profile.open();
  await page.getByLabel("Token").waitFor();
  const follow = (token: string) => page.evaluate((token) => location.hash = `#token=${token}`, token);
  await follow("nonsense");
  await page.waitForFunction(() => location.hash === "");
  await follow(await makeToken("alice", HOUR_S));
  await page.locator(".self-name .sub", { hasText: "online" }).waitFor();
  assertEquals(page.url(), world.address);
  await enter(page, "alice");
  await follow(await makeToken("alice", HOUR_S));
  await page.waitForFunction(() => location.hash === "#/alice");
  assertEquals(await page.locator(".conversation h2").textContent(), "alice", "who is signed in stays where they are");
  for (const answer of ["Stay alice", "Go on as bob"]) { // a link that anybody can send changes nobody's name by itself
    await follow(await makeToken("bob", HOUR_S));
    await page.waitForFunction(() => location.hash === "#/alice");
    await page.getByRole("button", { name: answer }).click();
    await page.locator(".self-name", { hasText: answer.replace(/.* /, "") }).waitFor();
  }
  assertEquals(page.url(), `${world.address}#/alice`);
}, ["--broker", "memory", "--jwt-secret-file", SECRET]);

browserTest("14: a token that ends in mid-sentence is asked for in place, and nothing is lost", async (world, browser) => {
  const bob = await world.person("bob", { token: await makeToken("bob", HOUR_S) });
  const profile = await world.profile(browser);
  profile.expected.push(/WebSocket|401/);
  const page = await profile.open();
  // Made when everything is loaded: however slow that is, the token ends after there was a connection.
  await page.getByLabel("Token").fill(await makeToken("alice", SENTENCE_S - TOLERANCE_S));
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator(".self-name .sub", { hasText: "online" }).waitFor();
  await enter(page, "bob");
  const [address, entries] = [page.url(), await page.evaluate(() => history.length)];
  await page.locator("#message").fill("half a thought");
  await page.locator("#new-token").waitFor();
  await page.locator("#message").fill("sent without a token");
  await page.locator("#message").press("Enter");
  await page.locator("#message").fill("half a thought");

  await page.locator("#new-token").fill(await makeToken("carol", HOUR_S));
  await page.getByRole("button", { name: "Go on" }).click();
  await page.getByText("This token is for carol").waitFor();
  await page.locator("#new-token").fill(await makeToken("alice", HOUR_S));
  await page.getByRole("button", { name: "Go on" }).click();
  await bob.until(({ texts }) => texts.length > 0);
  await page.locator(".mark.delivered, .mark.read").waitFor();
  assertEquals(bob.texts, ["sent without a token"]);
  assertEquals(await page.locator("#message").inputValue(), "half a thought");
  assertEquals([page.url(), await page.evaluate(() => history.length)], [address, entries], "no navigation");
  assert(
    !JSON.stringify(await page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name))).includes(
      "eyJ",
    ),
  );
}, ["--broker", "memory", "--jwt-secret-file", SECRET]);

browserTest("14: a token goes on to all tabs, also by a link, and a link that lies takes none away", async (world, browser) => {
  const bob = await world.person("bob", { token: await makeToken("bob", HOUR_S) });
  const profile = await world.profile(browser);
  profile.expected.push(/WebSocket|401/);
  const leader = await profile.open(`#token=${await makeToken("alice", HOUR_S, "a secret that the server does not know of")}`);
  await leader.locator("#new-token").waitFor();
  const second = await profile.open("#/bob");
  await second.locator("#new-token").waitFor();
  const third = await profile.open(`#token=${await makeToken("alice", HOUR_S)}`); // as a page does that signs people in
  for (const page of [leader, second, third]) await page.locator(".self-name .sub", { hasText: "online" }).waitFor();
  const liar = await profile.open(`#token=${await makeToken("alice", HOUR_S, "another that the server does not know of")}`);
  await liar.locator(".self-name .sub", { hasText: "online" }).waitFor();
  for (const page of [leader, third, liar]) await page.close();
  await write(second, "from the tab that leads now");
  await bob.until(({ texts }) => texts.length > 0);
  await second.reload();
  await second.locator(".self-name .sub", { hasText: "online" }).waitFor();
}, ["--broker", "memory", "--jwt-secret-file", SECRET]);

browserTest("A token that the server does not take is said to be wrong, in the server's words", async (world, browser) => {
  const profile = await world.profile(browser);
  profile.expected.push(/WebSocket|401/);
  const page = await profile.open();
  await page.getByLabel("Token").fill("not a token");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("This is no token").waitFor();
  const wrong = await makeToken("alice", HOUR_S, "another secret that the server does not have at all");
  await page.getByLabel("Token").fill(wrong);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator("label[for=new-token]", { hasText: "token" }).waitFor();
  await page.locator("#new-token").fill(await makeToken("alice", HOUR_S));
  await page.getByRole("button", { name: "Go on" }).click();
  await page.locator(".self-name .sub", { hasText: "online" }).waitFor();
}, ["--broker", "memory", "--jwt-secret-file", SECRET]);

browserTest("15: the keyboard alone gets everywhere, and nothing moves the focus by itself", async (world, browser) => {
  const bob = await world.person("bob");
  await world.person("alice");
  await bob.sayAll("alice", Array.from({ length: 150 }, (_, index) => `message ${index}`));
  const page = await (await world.profile(browser)).as("alice");
  const focus = () =>
    page.evaluate(() => {
      const element = document.activeElement!;
      return element.getAttribute("aria-label") ?? element.id ?? "";
    });
  await page.getByRole("link", { name: /bob/ }).focus();
  await page.keyboard.press("Enter");
  await sees(page, "message 149");
  const way: string[] = [];
  for (let press = 0; press < 12 && way.at(-1) !== "message"; press++) {
    await page.keyboard.press("Tab");
    way.push(await focus());
  }
  const log = way.indexOf("Messages with bob");
  assert(log >= 0 && way.at(-1) === "message", `Tab went to ${way.join(", ")}`);

  await page.keyboard.type("text");
  assertEquals(await page.locator(".unseen[aria-live=polite]").textContent(), "", "loading says nothing");
  await bob.say("alice", "a new one");
  await page.locator(".unseen[aria-live=polite]", { hasText: "bob: a new one" }).waitFor({ state: "attached" });
  assertEquals(await focus(), "message");
  for (let press = 0; press < 3; press++) await page.keyboard.press("Shift+Tab");
  await page.locator(".log").focus();
  const top = () => page.locator(".log").evaluate((scroller) => scroller.scrollTop);
  const before = await top();
  await page.keyboard.press("Home");
  await page.waitForFunction((before) => document.querySelector(".log")!.scrollTop < before, before);
  assertEquals(await page.locator(".log").getAttribute("role"), "log");

  await page.getByRole("button", { name: "Settings" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("switch", { name: "Away" }).waitFor();
  await page.evaluate(() => {
    const observer = new MutationObserver(() => {
      if (document.querySelector("dialog")) return;
      document.body.dataset.focused = document.activeElement!.getAttribute("aria-label") ?? "nothing";
      observer.disconnect();
    });
    observer.observe(document.body, { childList: true, subtree: true });
  });
  await page.keyboard.press("Escape");
  await page.locator("body[data-focused]").waitFor();
  assertEquals(await page.locator("body").getAttribute("data-focused"), "Settings", "the focus is given back, and never lost");
  assertEquals(await focus(), "Settings");
});

browserTest("A selection that ends outside a dialog does not close it, and a click there does", async (world, browser) => {
  const page = await (await world.profile(browser)).as("alice");
  await page.getByRole("button", { name: "New conversation or group" }).click();
  const field = page.getByLabel("Write to somebody");
  await field.fill("somebody");
  const { x, y } = (await field.boundingBox())!;
  await page.mouse.move(x + 80, y + 10);
  await page.mouse.down();
  await page.mouse.move(5, y + 10);
  await page.mouse.up();
  await drawn(page);
  assertEquals(await field.inputValue(), "somebody");
  await page.mouse.click(5, y + 10);
  await page.locator("dialog").waitFor({ state: "detached" });
});

browserTest("A dialog that the browser closes by itself can be opened again", async (world, browser) => {
  const page = await (await world.profile(browser)).as("alice");
  for (const name of ["Settings", "New conversation or group"]) {
    await page.getByRole("button", { name }).click();
    // As browsers do where nobody has touched the page since "cancel" was prevented, and phones with the way back.
    await page.locator("dialog").evaluate((dialog: HTMLDialogElement) => dialog.close());
    await page.locator("dialog").waitFor({ state: "detached" });
  }
});

browserTest("15: axe finds nothing against WCAG 2.2 A and AA, in both themes and at all widths", async (world, browser) => {
  const bob = await world.person("bob");
  const alice = await world.person("alice");
  await alice.client.group({ op: "create", group: "#ops", open: true });
  await bob.client.group({ op: "join", group: "#ops" });
  await bob.sayAll("#ops", ["one", "see https://a.example/b", "three"]);
  await alice.say("#ops", "mine");
  await bob.say("alice", "unread");
  for (const colorScheme of ["light", "dark"] as const) {
    for (const viewport of [{ width: 390, height: 780 }, { width: 1200, height: 800 }]) {
      const profile = await world.profile(browser, { colorScheme, viewport, reducedMotion: "reduce" });
      const login = await profile.open();
      await auditPage(login, `login, ${colorScheme}`);
      const page = await profile.as("alice");
      await auditPage(page, `list, ${colorScheme}`);
      await enter(page, "#ops");
      await sees(page, "mine");
      await write(page, "another");
      await bob.client.typing("#ops");
      await enter(page, "nobody");
      await write(page, "refused");
      await page.locator(".not-sent.wrong").waitFor();
      await auditPage(page, `refused, ${colorScheme}`);
      await page.getByRole("button", { name: "Delete" }).click();
      await enter(page, "#ops");
      await auditPage(page, `conversation, ${colorScheme}`);
      await page.getByRole("button", { name: "Search" }).click();
      await page.getByRole("searchbox").fill("three");
      await page.keyboard.press("Enter");
      await page.locator(".row.found").waitFor();
      await auditPage(page, `search, ${colorScheme}`);
      await page.getByRole("button", { name: "Members" }).click();
      await page.locator("dialog .rows li").nth(1).waitFor();
      await auditPage(page, `members, ${colorScheme}`);
      await page.keyboard.press("Escape");
      await page.evaluate(() => location.hash = "#/");
      await page.getByRole("button", { name: "Settings" }).click();
      await auditPage(page, `settings, ${colorScheme}`);
      await page.keyboard.press("Escape");
      await page.getByRole("button", { name: "New conversation" }).click();
      await auditPage(page, `new, ${colorScheme}`);
      await profile.context.close();
    }
  }
});

/** Resolves when the browser keeps something with this text: what comes is written within a moment. */
async function untilKept(page: Page, store: "messages" | "values" | "waiting", text: string): Promise<void> {
  const keeps = ([store, text]: readonly [string, string]) =>
    new Promise<boolean>((done) => {
      const opening = indexedDB.open("parley:/");
      opening.onsuccess = () => {
        const asking = opening.result.transaction(store).objectStore(store).getAll();
        asking.onsuccess = () => {
          opening.result.close();
          done(JSON.stringify(asking.result).includes(text));
        };
      };
    });
  await until(() => page.evaluate(keeps, [store, text] as const));
}

browserTest("Without a connection the page opens, takes what is typed, and sends it once", async (world, browser) => {
  const bob = await world.person("bob");
  const profile = await world.profile(browser);
  profile.expected.push(/WebSocket|ERR_INTERNET|Failed to load/);
  let page = await profile.as("alice", "bob");
  await bob.say("alice", "before");
  await sees(page, "before");
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  await untilKept(page, "messages", "before");
  await page.close();
  await profile.context.setOffline(true);
  page = await profile.open("#/bob");
  await sees(page, "before");
  await page.getByText("This device is offline").waitFor();
  await write(page, "typed in a tunnel");
  await page.getByText("Waits for a connection").waitFor();
  // The draft goes when the message is kept: until then a page that ends leaves the text in the field.
  await page.waitForFunction(() => !Object.keys(localStorage).some((key) => key.includes("draft alice bob")));
  await page.reload();
  await sees(page, "typed in a tunnel");
  await profile.context.setOffline(false);
  await bob.until(({ texts }) => texts.length > 0);
  await page.locator(".mark.delivered, .mark.read").waitFor();
  assertEquals(bob.texts, ["typed in a tunnel"]);
});

browserTest("A conversation that has just begun is in the list without a connection", async (world, browser) => {
  const bob = await world.person("bob");
  const profile = await world.profile(browser);
  profile.expected.push(/WebSocket|ERR_INTERNET|Failed to load/);
  let page = await profile.as("alice");
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  await bob.say("alice", "the first thing ever");
  await page.locator(".entry", { hasText: "the first thing ever" }).waitFor();
  await untilKept(page, "values", "the first thing ever");
  await untilKept(page, "messages", "the first thing ever");
  await page.close();
  await profile.context.setOffline(true);
  page = await profile.open();
  await page.locator(".entry", { hasText: "the first thing ever" }).click();
  await sees(page, "the first thing ever");
  await page.getByRole("button", { name: "Show older messages" }).click();
  await page.getByText("Older messages are on the server").waitFor();
  await profile.context.setOffline(false);
  await page.getByText("This is where it begins").waitFor();
  assertEquals(await page.getByText("Older messages are on the server").count(), 0);
});

browserTest("The page can be installed, and its worker keeps the shell alone", async (world, browser) => {
  const profile = await world.profile(browser);
  const page = await profile.as("alice");
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  const session = await profile.context.newCDPSession(page);
  const { errors, url } = await session.send("Page.getAppManifest");
  assertEquals(errors, []);
  assertMatch(url, /assets\/parley-[0-9a-f]+\.webmanifest$/);
  const { installabilityErrors } = await session.send("Page.getInstallabilityErrors");
  // A profile without history, as tests have, is incognito to Chromium.
  assertEquals(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== "in-incognito"), []);
  const kept = await page.evaluate(async () => {
    const caches = await Promise.all((await globalThis.caches.keys()).map((name) => globalThis.caches.open(name)));
    return (await Promise.all(caches.map((cache) => cache.keys()))).flat().map(({ url }) => new URL(url).pathname);
  });
  assert(kept.length > 3 && kept.every((path) => path === "/" || path.startsWith("/assets/")), kept.join());
});

browserTest("The list has all conversations, however many answers of the server they come in", async (world, browser) => {
  const alice = await world.person("alice");
  const groups = Array.from({ length: 120 }, (_, index) => `#group${index}`);
  await Promise.all(groups.map((group) => alice.client.group({ op: "create", group })));
  await alice.sayAll(groups[0]!, ["the only message"]);
  const page = await (await world.profile(browser)).as("alice");
  await page.locator(".entry").nth(groups.length - 1).waitFor();
  assertEquals(await page.locator(".entry").count(), groups.length);
});

browserTest("A server that begins anew is believed: nothing of its former log is shown", async (world, browser) => {
  const bob = await world.person("bob");
  const profile = await world.profile(browser);
  profile.expected.push(/WebSocket|ERR_CONNECTION|Failed to load/);
  const page = await profile.as("alice", "bob");
  for (const text of ["one", "two", "three"]) await write(page, text);
  await bob.until(({ texts }) => texts.length === 3);
  bob.client.markRead("alice", bob.messages[2]!.seq);
  await page.locator(".mark.read").nth(2).waitFor();
  await bob.client.close();
  await world.stop();
  await write(page, "four");
  await world.restart(["--broker", "memory"]);
  const again = await world.person("bob", { device: "again" });
  const carol = await world.person("carol");
  await page.locator(".not-sent.wrong, .mark.delivered").waitFor(); // bob may be known by now, or not yet
  if (await page.locator(".not-sent.wrong").count() > 0) await page.getByRole("button", { name: "Retry" }).click();
  await again.until(({ texts }) => texts.length > 0);
  await page.locator(".mark.delivered").waitFor();
  assertEquals(await page.locator(".row .text").allTextContents(), ["four"]);
  await carol.say("alice", "unread");
  await page.locator(".entry", { hasText: "unread" }).waitFor();
  assertEquals(await page.locator(".entry .entry-name").allTextContents(), ["carol", "bob"]);
});

browserTest("Signing out erases what this browser kept, in all tabs", async (world, browser) => {
  const bob = await world.person("bob");
  const profile = await world.profile(browser);
  await profile.context.routeWebSocket(/\/ws$/, (socket) => {
    socket.connectToServer();
    socket.onClose(() => {}); // the server answers no goodbye: until the leading tab has given up, the other one is loaded again
  });
  const page = await profile.as("alice", "bob");
  const other = await profile.as("alice");
  await bob.say("alice", "a secret");
  await sees(page, "a secret");
  await page.locator("#message").fill("a draft");
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("button", { name: "Sign out and erase" }).click();
  await page.getByLabel("Name").waitFor();
  await other.getByLabel("Name").waitFor();
  assertEquals(await whatIsKept(page), { local: 0, session: 0, messages: 0 });

  // The other tab was there again before all was erased: it keeps what the next user of it writes all the same.
  profile.expected.push(/WebSocket|ERR_INTERNET|Failed to load/);
  await other.getByLabel("Name").fill("carol");
  await other.getByRole("button", { name: "Start talking" }).click();
  await enter(other, "bob");
  await profile.context.setOffline(true);
  await write(other, "kept");
  await untilKept(other, "waiting", "kept");
});

async function whatIsKept(page: Page): Promise<unknown> {
  return await page.evaluate(async () => {
    let messages = 0;
    for (const { name } of await indexedDB.databases()) {
      const db = await new Promise<IDBDatabase>((done) => {
        const opening = indexedDB.open(name!);
        opening.onsuccess = () => done(opening.result);
      });
      for (const store of db.objectStoreNames) {
        messages += await new Promise<number>((done) => {
          const counting = db.transaction(store).objectStore(store).count();
          counting.onsuccess = () => done(counting.result);
        });
      }
      db.close();
    }
    return { local: localStorage.length, session: sessionStorage.length, messages };
  });
}

browserTest("Behind a proxy the page works under another path, and says what plain http lacks", async (world, browser) => {
  const bob = await world.person("bob");
  // A name that is not this machine's is no secure context; Chromium is told where it is.
  const proxy = world.use(serveUnder("/chat", world));
  const profile = await world.profile(browser);
  const address = `http://127.0.0.1:${proxy.port}/chat/`;
  const page = await profile.as("alice", "bob", address);
  await write(page, "from below");
  await bob.until(({ texts }) => texts.includes("from below"));
  assertEquals(new URL(page.url()).pathname, "/chat/");
  const blocked = world.use(serveUnder("/chat", world, false));
  profile.expected.push(/WebSocket|426/);
  const shut = await profile.open("#name=alice", `http://127.0.0.1:${blocked.port}/chat/`);
  await shut.getByText(`--allow-origin to name http://127.0.0.1:${blocked.port}.`).waitFor();
  const plain = await world.profile(browser);
  await insecure(plain.context);
  const first = await plain.as("carol", "bob", address);
  const second = await plain.as("carol", "bob", address);
  await first.getByRole("button", { name: "Settings" }).click();
  await first.getByText("over plain http").waitFor();
  await first.keyboard.press("Escape");
  await write(first, "a device");
  await sees(second, "a device");
  await write(second, "another device");
  await sees(first, "another device");
  await first.getByRole("button", { name: "Settings" }).click();
  await first.getByRole("button", { name: "Sign out" }).click();
  await first.getByRole("button", { name: "Sign out and erase" }).click();
  for (const tab of [first, second]) await tab.getByLabel("Name").waitFor();
});

/** Takes from pages what browsers do not give over plain http. */
async function insecure(context: BrowserContext): Promise<void> {
  await context.addInitScript(() => {
    Object.defineProperty(globalThis, "isSecureContext", { value: false });
    Object.defineProperty(Crypto.prototype, "randomUUID", { value: undefined });
    Object.defineProperty(Navigator.prototype, "locks", { value: undefined });
    delete (Navigator.prototype as { locks?: unknown }).locks;
    delete (Navigator.prototype as { serviceWorker?: unknown }).serviceWorker;
  });
}

/** Serves a world under a path, as proxies do that take the path away; many pass no sockets on until they are told to. */
function serveUnder(path: string, world: World, passesSockets = true): AsyncDisposable & { readonly port: number } {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const url = new URL(request.url);
    if (!url.pathname.startsWith(path + "/")) return new Response("elsewhere", { status: 404 });
    const target = `127.0.0.1:${world.port}${url.pathname.slice(path.length)}`;
    if (!passesSockets || request.headers.get("upgrade") !== "websocket") {
      const headers = new Headers(request.headers);
      headers.delete("host");
      const response = await fetch(`http://${target}`, { headers, method: request.method });
      const kept = new Headers(response.headers);
      kept.delete("content-encoding");
      kept.delete("content-length");
      return new Response(response.body, { status: response.status, headers: kept });
    }
    const inner = new WebSocket(`ws://${target}`);
    const { socket, response } = Deno.upgradeWebSocket(request);
    const early: string[] = [];
    inner.onopen = () => early.splice(0).forEach((text) => inner.send(text));
    socket.onmessage = ({ data }) => inner.readyState === WebSocket.OPEN ? inner.send(data) : void early.push(data);
    inner.onmessage = ({ data }) => socket.readyState === WebSocket.OPEN && socket.send(data);
    socket.onclose = () => inner.close();
    inner.onclose = () => socket.readyState === WebSocket.OPEN && socket.close();
    return response;
  });
  return Object.assign(server, { port: server.addr.port });
}

const COMPILED = Deno.env.get("PARLEY_BINARIES");

browserTest(
  "The compiled server serves the page from within itself",
  async (world, browser) => {
    const bob = await world.person("bob");
    const page = await (await world.profile(browser)).as("alice", "bob");
    await write(page, "from the page in a binary");
    await bob.until(({ texts }) => texts.includes("from the page in a binary"));
    await bob.say("alice", "and back");
    await sees(page, "and back");
  },
  ["--broker", "memory"],
  COMPILED === undefined ? "" : `${COMPILED}/chat-server`,
);

Deno.test({
  name: "Over TLS the page connects with TLS, under the same policy",
  ignore: lacksProgram(CHROMIUM) || lacksProgram("openssl", ["version"]),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    const browser = await startChromium();
    try {
      await certificate(folder);
      const { cert, key } = filesIn(folder);
      await using world = await World.start(["--broker", "memory", "--cert", cert, "--key", key]);
      const profile = await world.profile(browser, { ignoreHTTPSErrors: true });
      profile.expected.push(/service ?worker|SSL|fetching the script/i); // no worker of a certificate that nobody trusts
      const address = `https://127.0.0.1:${world.port}/`;
      const page = await profile.as("alice", "alice", address);
      await write(page, "a note to myself");
      await page.locator(".mark.sent, .mark.delivered, .mark.read").waitFor();
      await world.close();
    } finally {
      await browser.close();
      await Deno.remove(folder, { recursive: true });
    }
  },
});
