/** examples/shop, a product on Parley, installed with the packed client, and started as its README says. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import config from "../deno.json" with { type: "json" };
import { CAN_RUN, lacks, lacksProgram } from "../testing/permissions.ts";
import { Running } from "../testing/process.ts";
import { socketFlags } from "../testing/sdk_package.ts";
import { Shop } from "../testing/shop.ts";

const SHOP = new URL("../examples/shop/", import.meta.url);
const ignore = !CAN_RUN || ["npm", "node"].some((name) => lacksProgram(name)) || lacksProgram("openssl", ["version"]);

/** A customer without a page, of the same package: says hi to the shop, and prints what comes. */
const CUSTOMER = `
import { ChatClient } from "@parley/client";
const [shop, chat, cookie] = process.argv.slice(2);
const client = new ChatClient({
  url: chat,
  getToken: async () => (await fetch(shop + "token", { headers: { cookie } })).text(),
});
client.subscribe({ synced: () => console.log("here as " + client.user) });
client.connect();
await client.send("shop", "hi").acked;
console.log("sent");
for await (const { sender, content } of client.messages()) {
  console.log(sender + ": " + content);
  break;
}
await client.close();
`;

/** Asks the shop; returns the status, the headers and the body. */
async function ask(url: string, init: RequestInit = {}): Promise<{ status: number; headers: Headers; body: string }> {
  const answer = await fetch(url, { redirect: "manual", ...init });
  return { status: answer.status, headers: answer.headers, body: await answer.text() };
}

async function logIn(address: string, name: string, password: string): Promise<{ status: number; cookie: string }> {
  const { status, headers } = await ask(`${address}login`, { method: "POST", body: new URLSearchParams({ name, password }) });
  return { status, cookie: headers.get("set-cookie")?.split(";")[0] ?? "" };
}

Deno.test({
  name: "shop - names the versions of the client and of the verifier that it is tried with",
  ignore: lacks("read"),
  fn: async () => {
    const manifest = JSON.parse(await Deno.readTextFile(new URL("package.json", SHOP)));
    assertMatch(manifest.dependencies["@parley/client"], new RegExp(`/parley-client-${RegExp.escape(config.version)}\\.tgz$`));
    const sdk = JSON.parse(await Deno.readTextFile(new URL("../sdk/deno.json", import.meta.url)));
    assertEquals(sdk.imports.standardwebhooks, `npm:standardwebhooks@${manifest.dependencies.standardwebhooks}`);
  },
});

Deno.test({
  name: "shop - gives a token to whom it has logged in, writes to them, and mails them when they were away",
  ignore,
  fn: async () => {
    await using shop = await Shop.open();
    const { server, address, folder } = shop;
    assertEquals((await logIn(address, "alice", "guessed")).status, 401);
    assertEquals((await ask(`${address}token`)).status, 401);
    const { status, cookie } = await logIn(address, "alice", "wonderland");
    assertEquals(status, 303);

    await Deno.writeTextFile(`${folder}/customer.js`, CUSTOMER);
    const args = [...await socketFlags(), `${folder}/customer.js`, address, server.url, cookie];
    {
      await using alice = new Running({ command: "node", args });
      await alice.out.next("here as alice");
      await alice.out.next("sent");
      const order = await ask(`${address}orders`, { method: "POST", headers: { cookie } });
      assertEquals([order.status, order.body], [201, "order-1"]);
      await alice.out.next("shop: Your order 1 is on its way");
      assertEquals(await alice.code(), 0);
    }
    assertEquals(shop.program.err.all(), []);
    await shop.reopen();
    const { cookie: another } = await logIn(address, "alice", "wonderland");
    const order = await ask(`${address}orders`, { method: "POST", headers: { cookie: another } });
    assertEquals(order.body, "order-1", "which is another order than that of before");
    assertEquals(await shop.program.out.next("mail to"), "mail to alice: shop has written to you");
    assertEquals(shop.program.out.all().filter((line) => line.startsWith("mail")).length, 1, "the first order was read");
    assertEquals(shop.program.err.all(), []);
  },
});

Deno.test({
  name: "shop - has its page and all modules of the client for browsers, and believes no webhook that nobody signed",
  ignore,
  fn: async () => {
    await using shop = await Shop.open();
    const { server, address } = shop;
    assertMatch((await ask(address)).body, /<form method="post" action="\/login">/);
    const { cookie } = await logIn(address, "bob", "builder");
    const page = await ask(address, { headers: { cookie } });
    assert(page.body.includes(`data-chat="${server.url}" data-name="bob"`), page.body);
    assertMatch(page.headers.get("content-security-policy")!, /^default-src 'self'; connect-src 'self' ws:/);

    const seen = new Set<string>();
    const walk = async (url: URL): Promise<void> => {
      if (seen.has(url.href)) return;
      seen.add(url.href);
      const { status, headers, body } = await ask(url.href);
      assertEquals([status, headers.get("content-type")], [200, "text/javascript"], url.href);
      for (const [, specifier] of body.matchAll(/\bfrom "([./][^"]+)";/g)) await walk(new URL(specifier!, url));
    };
    await walk(new URL("page.js", address));
    assert(seen.size > 10, [...seen].join());
    assertEquals((await ask(`${address}client/../shop.js`)).status, 404);

    const forged = {
      "webhook-id": "1",
      "webhook-timestamp": `${Math.floor(Date.now() / 1_000)}`,
      "webhook-signature": "v1,x",
    };
    const event = JSON.stringify({ type: "message.undelivered", data: { sender: "shop", users: ["bob"] } });
    assertEquals((await ask(`${address}hook`, { method: "POST", headers: forged, body: event })).status, 401);
    assertEquals((await ask(`${address}hook`, { method: "POST", body: event })).status, 401);
    assertEquals(shop.program.out.all().filter((line) => line.startsWith("mail")), []);
  },
});
