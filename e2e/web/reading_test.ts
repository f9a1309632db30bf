/** Complaints about chats in browsers that concern reading, by their number in the research: each is a test. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { CDPSession, Page } from "playwright-core";
import { browserTest } from "./harness.ts";
import { drawn, enter, type Person, sees, until, write } from "./world.ts";

const LONG = "A line that is long enough to break on any screen that a person holds in a hand or puts on a desk. ".repeat(2);

async function fill(bob: Person, count: number, to = "alice"): Promise<void> {
  await bob.sayAll(to, Array.from({ length: count }, (_, index) => `${index} ${index % 7 === 0 ? LONG : "short"}`));
}

/** Makes the page believe that somebody looks elsewhere, or here again. */
async function look(page: Page, isHere: boolean): Promise<void> {
  await page.evaluate((here) => {
    Object.defineProperty(document, "hasFocus", { value: () => here, configurable: true });
    dispatchEvent(new Event(here ? "focus" : "blur"));
  }, isHere);
}

browserTest("3: the view does not move when older messages load, at the very top either", async (world, browser) => {
  const bob = await world.person("bob");
  await world.person("alice");
  await fill(bob, 600); // however much is loaded before the first look, there is more
  const page = await (await world.profile(browser)).as("alice", "bob");
  await sees(page, "599 ");
  // Goes to a place and waits for rows above; the first row in view is measured before and after, in the task of the change.
  const moved = (top: number) =>
    page.locator(".log").evaluate((scroller, top) =>
      new Promise<number>((done) => {
        const first = () =>
          [...scroller.querySelectorAll("[data-key]")].find((row) =>
            row.getBoundingClientRect().bottom > scroller.getBoundingClientRect().top
          )!;
        scroller.scrollTop = top;
        const row = first(), before = row.getBoundingClientRect().top;
        // Not the height: as many rows may leave below as come above.
        const topmost = () => scroller.querySelector("[data-key]")?.getAttribute("data-key"), above = topmost();
        const observer = new MutationObserver(() => {
          if (topmost() === above) return;
          observer.disconnect();
          done(row.getBoundingClientRect().top - before);
        });
        observer.observe(scroller, { childList: true, subtree: true });
      }), top);
  assertEquals(await moved(0), 0, "at 0");
  assertEquals(await moved(1), 0, "at 1");
  assertEquals(await moved(200), 0, "at 200");

  await page.locator(".log").focus();
  const numbers: number[] = [];
  for (let press = 0; press < 12; press++) {
    await page.keyboard.press("PageUp");
    await drawn(page);
    numbers.push(await firstInView(page));
  }
  for (let press = 1; press < numbers.length; press++) {
    const step = numbers[press - 1]! - numbers[press]!;
    assert(step >= 0 && step < 40, `pages up by ${step} messages: ${numbers}`);
  }
  await page.locator(".log").hover();
  for (let turn = 0; turn < 12; turn++) {
    const before = await firstInView(page);
    await page.mouse.wheel(0, -400);
    await drawn(page);
    const step = before - await firstInView(page);
    assert(step >= 0 && step < 40, `turns the wheel by ${step} messages`);
  }
});

/** Number in the first message that is in view. */
async function firstInView(page: Page): Promise<number> {
  return await page.locator(".log").evaluate((scroller) => {
    const edge = scroller.getBoundingClientRect().top;
    const row = [...scroller.querySelectorAll("[data-key]")].find((row) => row.getBoundingClientRect().bottom > edge)!;
    return Number.parseInt(row.querySelector(".text")!.textContent!);
  });
}

browserTest("4: whoever reads old messages stays there, and is told how many came", async (world, browser) => {
  const bob = await world.person("bob");
  await world.person("alice");
  await fill(bob, 60);
  const last = await bob.say("alice", "the last");
  const page = await (await world.profile(browser)).as("alice", "bob");
  await sees(page, "the last");
  const log = page.locator(".log");
  const top = () => log.evaluate((scroller) => scroller.scrollTop);
  await log.evaluate((scroller) => scroller.scrollTop = scroller.scrollHeight);
  // What is not read yet counts as new, too.
  await bob.until((person) => person.readBy("alice") >= last);
  await log.evaluate((scroller) => scroller.scrollTop -= scroller.clientHeight);
  await page.locator(".to-end").waitFor();
  const before = await top();
  await fill(bob, 20);
  await page.locator(".to-end", { hasText: "20 new" }).waitFor();
  assertEquals(await top(), before);
  await page.locator(".to-end").click();
  await page.locator(".to-end").waitFor({ state: "detached" });

  const below = () =>
    log.evaluate((scroller) => Math.round(scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight));
  assertEquals(await below(), 0);
  await bob.say("alice", "one more");
  await sees(page, "one more");
  assertEquals(await below(), 0, "follows at the bottom");

  await log.evaluate((scroller) => scroller.scrollTop -= 600);
  await page.locator(".to-end").waitFor();
  await write(page, "my own");
  await sees(page, "my own");
  await page.locator(".to-end").waitFor({ state: "detached" });
  assertEquals(await below(), 0, "own messages are gone to");
});

browserTest(
  "4: whoever scrolls up is not taken back by what changes before the browser tells of it",
  async (world, browser) => {
    const bob = await world.person("bob");
    await world.person("alice");
    await fill(bob, 60);
    const page = await (await world.profile(browser)).as("alice", "bob");
    await sees(page, "59 short");
    await page.locator(".to-end").click();
    await page.locator(".to-end").waitFor({ state: "detached" });
    const log = page.locator(".log");
    await log.evaluate(async (scroller) => {
      scroller.scrollTop = 0;
      dispatchEvent(new Event("blur")); // is drawn at once: "scroll" comes with the next frame
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    });
    await page.locator(".to-end").waitFor();
    assertEquals(await firstInView(page), 0);
  },
);

browserTest(
  "A message that comes while its conversation is loaded is shown, the first one of all too",
  async (world, browser) => {
    const bob = await world.person("bob");
    const profile = await world.profile(browser);
    const page = await profile.context.newPage();
    let answered = () => {};
    const answer = new Promise<void>((resolve) => answered = resolve);
    await page.routeWebSocket(/\/ws$/, (socket) => {
      const held: string[] = [];
      socket.connectToServer().onMessage((frame) => {
        const isAnswer = String(frame).includes('"type":"history"');
        if (isAnswer) held.push(frame as string);
        else socket.send(frame);
        if (isAnswer) answered();
        if (String(frame).includes("meanwhile")) held.splice(0).forEach((frame) => socket.send(frame)); // looked for before it
      });
    });
    await page.goto(`${world.address}#name=alice`);
    await page.locator(".self-name .sub", { hasText: "online" }).waitFor();
    await page.evaluate(() => location.hash = "#/bob");
    await answer;
    await bob.say("alice", "meanwhile");
    await sees(page, "meanwhile");
  },
);

browserTest("5: read is what was in view of somebody who looked", async (world, browser) => {
  const bob = await world.person("bob");
  const page = await (await world.profile(browser)).as("alice", "bob");
  await look(page, false);
  const unseen = await bob.say("alice", "nobody looks");
  await sees(page, "nobody looks");
  await drawn(page);
  await write(page, "not read");
  await bob.until(({ texts }) => texts.includes("not read"));
  assert(bob.readBy("alice") < unseen, "a window without the focus reads nothing");
  assertEquals(await page.title(), "(1) Parley");
  await look(page, true);
  await bob.until((person) => person.readBy("alice") >= unseen);
  await page.locator(".new-line").waitFor();
  await page.waitForFunction(() => document.title === "Parley");

  const log = page.locator(".log");
  await fill(bob, 60);
  const last = await bob.say("alice", "the last one in view");
  await sees(page, "the last one in view");
  await bob.until((person) => person.readBy("alice") >= last);
  await log.evaluate((scroller) => scroller.scrollTop = 0);
  await page.locator(".to-end").waitFor();
  const below = await bob.say("alice", "far below");
  await page.locator(".to-end", { hasText: "1 new" }).waitFor();
  await drawn(page);
  await page.evaluate(() => location.hash = "#/carol");
  await page.locator(".conversation h2", { hasText: "carol" }).waitFor();
  assert(bob.readBy("alice") < below, "what is below the view is not read");
  await enter(page, "bob");
  await bob.until((person) => person.readBy("alice") >= below);
  assertEquals(await page.locator(".new-line").count(), 1, "the line stays until one leaves");
  await page.locator(".new-line").waitFor();
  await enter(page, "carol");
  await enter(page, "bob");
  await sees(page, "far below");
  await page.locator(".new-line").waitFor({ state: "detached" });
});

browserTest("5: what an ignored person writes in a group is not unread for ever, nor found", async (world, browser) => {
  const alice = await world.person("alice");
  const bob = await world.person("bob");
  const mallory = await world.person("mallory");
  await alice.client.group({ op: "create", group: "#team", open: true });
  for (const { client } of [bob, mallory]) await client.group({ op: "join", group: "#team" });
  await bob.say("#team", "a needle");
  const profile = await world.profile(browser);
  await profile.context.addInitScript(() => localStorage.setItem("parley:/:settings", '{"ignored":["mallory"]}'));
  const page = await profile.as("alice", "#team");
  await sees(page, "a needle");
  const hidden = await mallory.say("#team", "a needle that is not shown");
  await alice.until(({ receipts }) => receipts.some(({ user, seq }) => user === "alice" && seq >= hidden));
  assert(mallory.readBy("alice") < hidden, "nobody is told that they were read");
  await page.reload();
  await sees(page, "a needle");
  assertEquals(await page.title(), "Parley");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByRole("searchbox").fill("needle");
  await page.locator(".search output", { hasText: "0 of 1" }).waitFor();
});

browserTest("8: three tabs: one connection, one notification, and another leads when one goes", async (world, browser) => {
  const bob = await world.person("bob");
  const profile = await world.profile(browser);
  await profile.context.grantPermissions(["notifications"]);
  let sockets = 0;
  profile.context.on("page", (page) => page.on("websocket", () => sockets++));
  const leader = await profile.as("alice");
  const second = await profile.as("alice");
  const third = await profile.as("alice", "bob");
  assertEquals(sockets, 1);
  await leader.getByRole("button", { name: "Settings" }).click();
  await leader.getByRole("switch", { name: "Notify me" }).check();
  await leader.keyboard.press("Escape");
  await leader.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  for (const page of [leader, second, third]) await look(page, false);

  const shown = () =>
    leader.evaluate(async () =>
      (await (await navigator.serviceWorker.ready).getNotifications()).map(({ tag, body }) => `${tag}: ${body}`)
    );
  await bob.say("alice", "psst");
  await sees(third, "psst");
  await until(async () => (await shown()).length > 0);
  assertEquals(await shown(), ["bob: psst"]);
  await bob.say("alice", `\u202e${"h".repeat(100)}\n\n\ni${"\u0332".repeat(60)}${"\u{1f600}".repeat(200)}`);
  await until(async () => !(await shown()).includes("bob: psst"));
  const [hostile] = await shown();
  assertMatch(hostile!, /^bob: h{100} i\u0332{8}\u{1f600}+$/u, "one line, nothing that turns it, and no half of a character");

  const phone = await world.person("alice", { device: "phone" });
  phone.client.markRead("bob", await bob.say("alice", "psst again"));
  await until(async () => (await shown()).length === 0);

  await look(third, true);
  const seen = await bob.say("alice", "in front");
  await bob.until((person) => person.readBy("alice") >= seen);
  assertEquals(await shown(), [], "none for what is in front");

  await write(third, "before");
  await bob.until(({ texts }) => texts.includes("before"));
  await leader.close();
  await write(third, "after");
  await bob.until(({ texts }) => texts.includes("after"));
  await bob.say("alice", "still here");
  await sees(third, "still here");
  await second.locator(".entry", { hasText: "still here" }).waitFor();
  assertEquals([sockets, bob.texts], [2, ["before", "after"]]);
});

browserTest("8: a leading tab that does not answer is replaced, and follows when it goes on", async (world, browser) => {
  const bob = await world.person("bob");
  const profile = await world.profile(browser);
  const leader = await profile.as("alice", "bob");
  const second = await profile.as("alice", "bob");
  const session = await profile.context.newCDPSession(leader);
  await stop(session);
  await second.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await write(second, "is anybody leading?");
  await bob.until(({ texts }) => texts.length > 0);
  await goOn(session);
  await bob.say("alice", "both see this");
  await sees(second, "both see this");
  await sees(leader, "both see this");
  await write(leader, "from the one that was stopped");
  await bob.until(({ texts }) => texts.length > 1);
  assertEquals(bob.texts, ["is anybody leading?", "from the one that was stopped"]);
  for (const page of [leader, second]) await page.locator(".banner").waitFor({ state: "detached" });
});

/** Stops everything that a page does; what happens meanwhile is told to it afterwards. */
async function stop(session: CDPSession): Promise<void> {
  await session.send("Debugger.enable");
  const paused = new Promise<void>((resolve) => session.once("Debugger.paused", () => resolve()));
  await session.send("Debugger.pause");
  session.send("Runtime.evaluate", { expression: "0" }).catch(() => {}); // is answered when it goes on
  await paused;
}

async function goOn(session: CDPSession): Promise<void> {
  await session.send("Debugger.resume");
  await session.send("Debugger.disable");
  await session.send("Runtime.evaluate", { expression: 'document.dispatchEvent(new Event("visibilitychange"))' });
}
