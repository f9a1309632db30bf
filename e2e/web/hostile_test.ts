/** Content that wants something of the page which shows it, and more content than a page can show. */

import { assert, assertEquals } from "@std/assert";
import { auditPage } from "./axe.ts";
import { browserTest } from "./harness.ts";
import { enter, sees, write } from "./world.ts";

const HOSTILE = [
  '<script>globalThis.owned = 1</script><img src=x onerror="globalThis.owned = 1">',
  "<style>* { display: none }</style><iframe src=//evil.example></iframe>",
  '"><svg onload=globalThis.owned=1>',
  "javascript:globalThis.owned=1 JaVaScRiPt:alert(1) data:text/html,<script>alert(1)</script> vbscript:x",
  "https://good.example\u202e/moc.live",
  "\u202eright to left\u202c \u2066isolated and never closed",
  "https://user:password@evil.example/ and https://evil.example\\@good.example",
  "e" + "\u0301".repeat(8_000),
  "\u{1f469}\u200d".repeat(1_500),
  "\n".repeat(10_000) + "end",
  "a".repeat(16_000),
  "{{constructor.constructor('globalThis.owned=1')()}} ${globalThis.owned=1} __proto__",
  "",
  " ",
];

browserTest("Hostile content stays text: no error, no request, no node, nothing for axe", async (world, browser) => {
  const mallory = await world.person("mallory");
  const alice = await world.person("alice");
  await alice.client.group({ op: "create", group: "#constructor", open: true });
  await mallory.client.group({ op: "join", group: "#constructor" });
  await world.person("__proto__".replaceAll("_", "") + ".constructor");
  for (const content of HOSTILE) {
    await mallory.say("alice", content);
    await mallory.say("#constructor", content);
  }
  await mallory.say("alice", "the last one");
  await mallory.say("#constructor", "the last one");
  for (const colorScheme of ["light", "dark"] as const) {
    const profile = await world.profile(browser, { colorScheme });
    const page = await profile.as("alice");
    const scripts = await page.locator("script, style, iframe, object, embed, link[rel=stylesheet]").count();
    for (const conversation of ["#constructor", "mallory"]) {
      await enter(page, conversation);
      await sees(page, "the last one");
      const found = await page.evaluate(() => ({
        owned: (globalThis as unknown as { owned?: number }).owned,
        elements: [...new Set([...document.querySelectorAll(".text *")].map(({ localName }) => localName))],
        schemes: [...new Set([...document.querySelectorAll<HTMLAnchorElement>(".text a")].map(({ protocol }) => protocol))],
        widest: Math.max(...[...document.querySelectorAll(".row, .entry")].map((row) => row.getBoundingClientRect().right)),
        highest: Math.max(...[...document.querySelectorAll(".bubble")].map((row) => row.getBoundingClientRect().height)),
      }));
      assertEquals([found.owned, found.elements, found.schemes], [undefined, ["a"], ["https:"]]);
      assert(found.widest <= 1_100, `${found.widest} px wide`);
      assert(found.highest < 2_500, `${found.highest} px high`);
      await auditPage(page, `hostile content, ${colorScheme}`);
    }
    assertEquals(await page.locator("script, style, iframe, object, embed, link[rel=stylesheet]").count(), scripts);
    await page.locator(".link", { hasText: "Show all" }).first().click();
    await page.context().close();
  }
});

browserTest("A link is shown as it is, whatever stands before it", async (world, browser) => {
  const mallory = await world.person("mallory");
  const alice = await world.person("alice");
  const link = "https://evil.example/moc.elpmaxe.doog//:sptth";
  for (const before of ["\u202e", "\u2067", "\u05d0", ""]) await mallory.say("alice", `${before} ${link} end`);
  await alice.until(({ texts }) => texts.length === 4);
  const page = await (await world.profile(browser)).as("alice", "mallory");
  await page.locator(".text a").nth(3).waitFor();
  const isTurned = await page.locator(".text a").evaluateAll((links) =>
    links.map(({ firstChild }) => {
      const leftOf = (index: number) => {
        const range = document.createRange();
        range.setStart(firstChild!, index);
        range.setEnd(firstChild!, index + 1);
        return range.getBoundingClientRect().left;
      };
      return leftOf(0) > leftOf(7);
    })
  );
  assertEquals(isTurned, [false, false, false, false]);
});

browserTest("Names as long as they may be stay within the page, wherever they stand", async (world, browser) => {
  const long = "w".repeat(64), unknown = `nobody${"w".repeat(58)}`, group = `#${"g".repeat(62)}`;
  const wide = await world.person(long);
  const alice = await world.person("alice");
  await alice.client.group({ op: "create", group, open: true });
  await wide.client.group({ op: "join", group });
  await wide.say(group, "hello");
  const page = await (await world.profile(browser, { viewport: { width: 390, height: 780 } })).as("alice", group);
  const assertWithin = async (where: string) => {
    const outside = await page.evaluate(() => {
      const found: string[] = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      const isCut = (element: Element | null): boolean =>
        element !== null && (getComputedStyle(element).textOverflow === "ellipsis" || element.matches(".unseen") ||
          isCut(element.parentElement));
      while (texts.nextNode()) {
        const { parentElement, textContent } = texts.currentNode;
        const box = parentElement!.closest("button, dialog, .bubble, .notice p") ?? document.documentElement;
        const range = document.createRange();
        range.selectNodeContents(texts.currentNode);
        const text = range.getBoundingClientRect(), around = box.getBoundingClientRect();
        if (isCut(parentElement) || text.width === 0) continue;
        if (text.left < around.left - 1 || text.right > Math.min(around.right, innerWidth) + 1) found.push(textContent!);
      }
      return found;
    });
    assertEquals(outside, [], where);
  };
  await sees(page, "hello");
  await wide.client.typing(group);
  await page.locator(".typing", { hasText: long }).waitFor();
  await assertWithin("the conversation");
  await page.getByRole("button", { name: "Members" }).click();
  await page.getByRole("button", { name: `Remove ${long}` }).waitFor();
  await page.getByLabel("Invite somebody").fill(unknown);
  await page.getByRole("button", { name: "Invite" }).click();
  await page.locator("#group-failure", { hasText: unknown }).waitFor();
  await assertWithin("the members");
  await page.keyboard.press("Escape");
  await enter(page, long);
  await page.getByRole("button", { name: "About this person" }).click();
  await page.getByRole("button", { name: `Ignore ${long}` }).click();
  await page.getByRole("button", { name: `Stop ignoring ${long}` }).first().waitFor();
  await assertWithin("the details");
  await page.keyboard.press("Escape");
  await page.locator(".ignored").getByRole("button").waitFor();
  await assertWithin("what is ignored");
  await enter(page, unknown);
  await write(page, "hello?");
  await page.locator(".not-sent.wrong", { hasText: unknown }).waitFor();
  await page.locator(".log-start", { hasText: unknown }).waitFor();
  await assertWithin("a refusal");
  assert((await page.locator("#message").boundingBox())!.height < 50, "a hint takes one line");
  await wide.client.group({ op: "create", group: `#${"h".repeat(62)}` });
  await wide.client.group({ op: "invite", group: `#${"h".repeat(62)}`, user: "alice" });
  await page.locator(".notice p", { hasText: long }).waitFor();
  await assertWithin("a notice");
});

browserTest("A name that every object knows is one like all others, with its marks", async (world, browser) => {
  const known = await world.person("constructor");
  const page = await (await world.profile(browser)).as("alice", "constructor");
  await write(page, "are you a function?");
  await page.locator(".mark.delivered").waitFor();
  await known.until(({ messages }) => messages.length > 0);
  known.client.markRead("alice", known.messages[0]!.seq);
  await page.locator(".mark.read").waitFor();
  const again = await page.context().newPage(); // is told of everything by the first
  await again.goto(`${world.address}#/constructor`);
  await again.locator(".mark.read").waitFor();
});

browserTest("Ten thousand messages: a bounded document, and all of them can be reached", async (world, browser) => {
  const bob = await world.person("bob");
  await world.person("alice");
  const texts = Array.from({ length: 10_000 }, (_, index) => `message ${index} ${"and more ".repeat(index % 9)}`);
  for (let from = 0; from < texts.length; from += 500) await bob.sayAll("alice", texts.slice(from, from + 500));
  const profile = await world.profile(browser);
  const page = await profile.as("alice");
  await page.locator(".entry", { hasText: "message 9999" }).waitFor();
  const measured = await page.evaluate(async () => {
    const frame = () => new Promise<number>((done) => requestAnimationFrame(done));
    const begun = performance.now();
    location.hash = "#/bob";
    while (!document.querySelector(".log")?.textContent?.includes("message 9999")) await frame();
    const opened = performance.now() - begun;
    const log = document.querySelector(".log")!;
    let longest = 0, rows = 0, last = await frame();
    const first = () => Number(/message (\d+)/.exec(document.querySelector(".row")!.textContent!)![1]);
    for (let step = 0; step < 4_000 && first() > 0; step++) {
      log.scrollTop -= 1_200;
      const now = await frame();
      longest = Math.max(longest, now - last);
      last = now;
      rows = Math.max(rows, document.querySelectorAll(".row").length);
    }
    return { opened: Math.round(opened), longest: Math.round(longest), rows, first: first() };
  });
  console.log(
    `10,000 messages: opened in ${measured.opened} ms, longest frame ${measured.longest} ms, ${measured.rows} rows at most`,
  );
  assertEquals(measured.first, 0, "the first message is reached");
  assert(measured.rows <= 410, `${measured.rows} rows in the document`);
  await page.locator(".to-end").click();
  await sees(page, "message 9999");
  assert(await page.locator(".row").count() <= 410);
});
