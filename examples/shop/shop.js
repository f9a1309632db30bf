/**
 * A shop with a conversation between it and each of its customers. It has the three things that a product needs of Parley: it
 * gives a token to whom it has logged in, it writes messages of its own, and it hears of those that nobody was there to read.
 */

import { createHmac, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const { PORT = "3000", CHAT = "http://127.0.0.1:8080", KEYS = "keys" } = process.env;
const HERE = new URL(".", import.meta.url);
const [jwtSecret, apiKey, hookSecret] = await Promise.all(
  ["jwt.secret", "shop.key", "hook.secret"].map(async (name) => (await readFile(`${KEYS}/${name}`, "utf8")).trim()),
);
const webhook = new Webhook(hookSecret);
/** Seconds that a token is good for. The page asks for another by itself. */
const TOKEN_S = 300;
/** Bytes of a request: a webhook has some 20 KB. */
const BODY_BYTES_MAX = 65_536;

/** Customers and their passwords, which a real shop keeps as hashes. */
const CUSTOMERS = new Map([["alice", "wonderland"], ["bob", "builder"]]);
/** Who is logged in, by cookie. */
const sessions = new Map();
/** Ids of webhooks that were dealt with: one may come again. A real shop keeps them for some days. */
const dealtWith = new Set();
let orders = 0;
/** Tells the orders of this run from those before it, as they are counted from one again. A real shop keeps them. */
const run = Date.now().toString(36);

/** Makes a token for a customer: a JSON Web Token, signed with the secret that the server checks it with. */
function tokenFor(name) {
  const claims = { sub: name, exp: Math.floor(Date.now() / 1_000) + TOKEN_S };
  const signed = [{ alg: "HS256" }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${signed}.${createHmac("sha256", jwtSecret).update(signed).digest("base64url")}`;
}

/** Asks Parley's HTTP API for something. */
async function ask(method, path, body) {
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };
  const answer = await fetch(`${CHAT}/api/v1/${path}`, { method, headers, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${path} was refused: ${await answer.text()}`);
}

async function bodyOf(request) {
  let body = "";
  for await (const chunk of request.setEncoding("utf8")) {
    if ((body += chunk).length > BODY_BYTES_MAX) throw new Error("The request is too large");
  }
  return body;
}

const text = (status, words, headers = {}) => ({ status, body: words, headers: { "content-type": "text/plain", ...headers } });
const file = async (path, type) => ({
  status: 200,
  body: await readFile(new URL(path, HERE)),
  headers: { "content-type": type },
});

/** Everything that the shop answers. `name` is the customer who is logged in. */
const ROUTES = {
  async "GET /"({ name }) {
    const page = await file(name ? "page.html" : "login.html", "text/html; charset=utf-8");
    const socket = `${CHAT.replace(/^http/, "ws")}/ws`;
    page.body = page.body.toString().replace("{{chat}}", socket).replace("{{name}}", name);
    page.headers["content-security-policy"] = `default-src 'self'; connect-src 'self' ${new URL(socket).origin}`;
    return page;
  },
  "GET /page.js": () => file("page.js", "text/javascript"),
  async "POST /login"({ request }) {
    const form = new URLSearchParams(await bodyOf(request)), name = form.get("name");
    if (!CUSTOMERS.has(name) || CUSTOMERS.get(name) !== form.get("password")) return text(401, "No such customer or password");
    await ask("PUT", `users/${name}`); // they can be written to from now on
    const cookie = randomUUID();
    sessions.set(cookie, name);
    return text(303, "", { location: "/", "set-cookie": `session=${cookie}; HttpOnly; SameSite=Strict; Path=/` });
  },
  "GET /token": ({ name }) => name ? text(200, tokenFor(name), { "cache-control": "no-store" }) : text(401, "Log in first"),
  async "POST /orders"({ name }) {
    if (!name) return text(401, "Log in first");
    const order = ++orders, content = `Your order ${order} is on its way`;
    // By its id the same message is stored once, however often it is sent.
    await ask("POST", "messages", { sender: "shop", recipient: name, content, id: `order-${run}-${order}` });
    return text(201, `order-${order}`);
  },
  async "POST /hook"({ request }) {
    const body = await bodyOf(request);
    let event;
    try {
      event = webhook.verify(body, request.headers);
    } catch {
      return text(401, "The signature is wrong");
    }
    const id = request.headers["webhook-id"];
    if (event.type === "message.undelivered" && !dealtWith.has(id)) {
      for (const user of event.data.users) console.log(`mail to ${user}: ${event.data.sender} has written to you`);
    }
    dealtWith.add(id);
    return text(204, "");
  },
};

async function answer(request) {
  const { pathname } = new URL(request.url, "http://shop"), route = ROUTES[`${request.method} ${pathname}`];
  const name = sessions.get(/(?:^|; )session=([^;]*)/.exec(request.headers.cookie ?? "")?.[1]);
  if (route) return await route({ request, name });
  const module = /^\/client\/([a-z_/]+\.js)$/.exec(pathname)?.[1];
  if (module) return await file(new URL(module, import.meta.resolve("@parley/client")), "text/javascript");
  return text(404, "There is no such page");
}

await ask("PUT", "users/shop");
createServer(async (request, response) => {
  const { status, body, headers } = await answer(request).catch((error) => {
    console.error(error.message);
    return text(500, "Something went wrong");
  });
  response.writeHead(status, headers).end(body);
}).listen(Number(PORT), "127.0.0.1", () => console.log(`The shop is open at http://127.0.0.1:${PORT}/`));
