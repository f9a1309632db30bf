/** Complaints about chats in browsers that concern writing, by their number in the research: each is a test. */

import { assert, assertEquals } from "@std/assert";
import type { Page } from "playwright-core";
import { browserTest } from "./harness.ts";
import { enter, sees, write } from "./world.ts";

const caret = (page: Page) =>
  page.locator("#message").evaluate((field: HTMLTextAreaElement) => [field.value, field.selectionStart]);

browserTest("1: Enter that confirms a candidate of an input method sends nothing", async (world, browser) => {
  const bob = await world.person("bob");
  const profile = await world.profile(browser);
  const page = await profile.as("alice", "bob");
  const field = page.locator("#message");
  await field.focus();

  const session = await profile.context.newCDPSession(page);
  await session.send("Input.imeSetComposition", { text: "にほ", selectionStart: 2, selectionEnd: 2 });
  await page.keyboard.press("Enter");
  assertEquals(await page.locator(".row").count(), 0, "while composing");

  await session.send("Input.insertText", { text: "日本" });
  await field.evaluate((element) => {
    const enter = { key: "Enter", keyCode: 229, bubbles: true, cancelable: true };
    element.dispatchEvent(new CompositionEvent("compositionend", { bubbles: true }));
    element.dispatchEvent(new KeyboardEvent("keydown", enter));
  });
  assertEquals(await page.locator(".row").count(), 0, "Safari's key after the composition");

  await field.evaluate((element: HTMLTextAreaElement) => {
    element.dispatchEvent(new CompositionEvent("compositionstart", { bubbles: true }));
    element.blur();
    element.focus();
  });
  await page.keyboard.press("Enter");
  await bob.until(({ texts }) => texts.length > 0);
  assertEquals(bob.texts.length, 1, "a composition that was lost does not block for ever");
  assert(bob.texts[0]!.includes("日本"));
});

browserTest(
  "2: a draft survives closing, switching and signing in, and is gone when it was sent or cleared",
  async (world, browser) => {
    await world.person("bob");
    await world.person("carol");
    const profile = await world.profile(browser);
    let page = await profile.as("alice", "bob");
    await page.locator("#message").pressSequentially("half a thought");
    await page.keyboard.press("ArrowLeft");
    await page.waitForFunction(() => Object.values(localStorage).some((kept) => kept.includes('"start":13')));
    await page.close();

    page = await profile.open("#/bob");
    await page.locator("#message").waitFor();
    assertEquals(await caret(page), ["half a thought", 13]);

    await enter(page, "carol");
    assertEquals(await caret(page), ["", 0], "never in another conversation");
    assertEquals(await page.locator(".entry", { hasText: "bob" }).locator(".draft").textContent(), "Draft");
    await enter(page, "bob");
    assertEquals((await caret(page))[0], "half a thought");

    await page.locator("#message").fill("");
    await page.reload();
    await page.locator("#message").waitFor();
    assertEquals(await caret(page), ["", 0], "cleared by hand");
    await write(page, "a whole thought");
    await page.locator(".mark.sent, .mark.delivered").waitFor();
    await page.reload();
    await page.locator("#message").waitFor();
    assertEquals(await caret(page), ["", 0], "sent");

    const other = await profile.open("#/bob");
    await other.locator("#message").pressSequentially("begun in another tab");
    await write(page, "sent from here");
    await page.locator(".mark.sent, .mark.delivered").nth(1).waitFor();
    await other.reload();
    await other.locator("#message").waitFor();
    assertEquals((await caret(other))[0], "begun in another tab");
  },
);

browserTest("6: a connection that breaks between a message and its ack: one message, in order", async (world, browser) => {
  const bob = await world.person("bob");
  const profile = await world.profile(browser);
  let cuts = 0;
  await profile.context.routeWebSocket(/\/ws$/, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((text) => {
      const isAck = String(text).split("\n").some((line) => line.includes('"type":"ack"'));
      if (isAck && cuts++ < 2) return void server.close();
      socket.send(text);
    });
  });
  const page = await profile.as("alice", "bob");
  await write(page, "one");
  assertEquals(await page.locator("#message").inputValue(), "", "the text is in one place only");
  await write(page, "two");
  await page.locator(".mark.delivered, .mark.read").nth(1).waitFor();
  assertEquals(bob.texts, ["one", "two"]);
  assertEquals(await page.locator(".row .text").allTextContents(), ["one", "two"]);
  assertEquals(cuts >= 2, true);
});

browserTest(
  "6: a refused message says why, can be sent again and deleted, and does not hold up others",
  async (world, browser) => {
    const bob = await world.person("bob");
    const profile = await world.profile(browser);
    const page = await profile.as("alice", "nobody");
    await write(page, "is anybody there?");
    const refused = page.locator(".not-sent.wrong");
    await refused.getByText("There is no user").waitFor();
    await write(page, "hello?");
    await refused.nth(1).waitFor();
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByRole("searchbox").fill("THERE");
    await page.keyboard.press("Enter");
    await page.locator(".row.found", { hasText: "is anybody there?" }).waitFor();
    await page.keyboard.press("Escape");
    await refused.nth(1).getByRole("button", { name: "Delete" }).click();
    await refused.nth(1).waitFor({ state: "detached" });
    await enter(page, "bob");
    await write(page, "to bob");
    await bob.until(({ texts }) => texts.includes("to bob"));

    const nobody = await world.person("nobody");
    await enter(page, "nobody");
    await refused.getByRole("button", { name: "Retry" }).evaluate((button: HTMLButtonElement) => {
      for (let press = 0; press < 5; press++) button.click();
    });
    await page.locator(".mark.delivered").waitFor();
    await write(page, "welcome");
    await nobody.until(({ texts }) => texts.includes("welcome"));
    assertEquals(nobody.texts, ["is anybody there?", "welcome"]);
  },
);

browserTest("6: a full mailbox holds up its own conversation alone", async (world, browser) => {
  const bob = await world.person("bob");
  const carol = await world.person("carol");
  await carol.client.close();
  const profile = await world.profile(browser);
  const page = await profile.as("alice", "carol");
  for (const text of ["1", "2", "3"]) await write(page, text);
  await page.locator(".not-sent", { hasText: "again by itself" }).first().waitFor();
  await enter(page, "bob");
  await write(page, "meanwhile");
  await bob.until(({ texts }) => texts.includes("meanwhile"));
  await enter(page, "carol");
  assertEquals(await page.locator(".row .text").allTextContents(), ["1", "2", "3"]);
  for (const text of ["2", "3"]) { // the server says of one after the other that there is no room
    const row = page.locator(".row", { has: page.locator(".text", { hasText: text }) });
    await row.getByRole("button", { name: "Delete" }).click();
    await row.waitFor({ state: "detached" });
  }
  assertEquals(await page.locator(".row .text").allTextContents(), ["1"]);
}, ["--broker", "memory", "--mailbox", "2"]);

browserTest("10: on a touch screen Enter begins a line, and the button and Ctrl+Enter send", async (world, browser) => {
  const bob = await world.person("bob");
  const profile = await world.profile(browser, { hasTouch: true, isMobile: true, viewport: { width: 390, height: 700 } });
  const page = await profile.as("alice", "bob");
  const field = page.locator("#message");
  assertEquals(await field.getAttribute("enterkeyhint"), "enter");
  await field.tap();
  await page.keyboard.type("one");
  await page.keyboard.press("Enter");
  await page.keyboard.type("two");
  await page.getByRole("button", { name: "Send" }).tap();
  await page.keyboard.type("three");
  await page.keyboard.press("Control+Enter");
  await bob.until(({ texts }) => texts.length === 2);
  assertEquals(bob.texts, ["one\ntwo", "three"]);

  const desk = await (await world.profile(browser)).as("carol", "bob");
  assertEquals(await desk.locator("#message").getAttribute("enterkeyhint"), "send");
  await desk.locator("#message").focus();
  await desk.keyboard.type("  four");
  await desk.keyboard.press("Shift+Enter");
  await desk.keyboard.type("five");
  await desk.keyboard.press("Enter");
  await bob.until(({ texts }) => texts.length === 3);
  assertEquals(bob.texts[2], "  four\nfive", "as it was written");
});

browserTest("13: links end where they end, and only the web and mail are linked", async (world, browser) => {
  const bob = await world.person("bob");
  await world.person("alice");
  const texts: [text: string, links: string[]][] = [
    ["(https://a.example/c)", ["https://a.example/c"]],
    ["see https://a.example/c.", ["https://a.example/c"]],
    ["https://a.example/Curtain_(disambiguation), and", ["https://a.example/Curtain_(disambiguation)"]],
    ["请看 https://a.example/文档。谢谢", ["https://a.example/文档"]],
    ["请看「https://a.example/b」谢谢", ["https://a.example/b"]],
    ["javascript:alert(1) data:text/html,x file:///etc/passwd //a.example ftp://a.example", []],
    ["mailto:bob@a.example", ["mailto:bob@a.example"]],
    ["https://a.example?x=1&y=<b>2</b>", ["https://a.example?x=1&y="]],
  ];
  for (const [text] of texts) await bob.say("alice", text);
  const page = await (await world.profile(browser)).as("alice", "bob");
  await page.locator(".row").nth(texts.length - 1).waitFor();
  const shown = await page.locator(".row .text").evaluateAll((rows) =>
    rows.map((row) => [row.textContent!, [...row.querySelectorAll("a")].map((link) => link.textContent!)])
  );
  assertEquals(shown, texts.map(([text, links]) => [text, links]));
  const rels = await page.locator(".row a").evaluateAll((links) =>
    links.map((link) => `${(link as HTMLAnchorElement).target} ${(link as HTMLAnchorElement).rel}`)
  );
  assertEquals(new Set(rels), new Set(["_blank noopener noreferrer"]));
  await sees(page, "mailto:");
});
