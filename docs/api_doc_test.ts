/** API.md's examples are run, in their order, and answer what it says; openapi.json says what the routes are, and its examples are run. */

import { assert, assertEquals } from "@std/assert";
import { STATUS_OF } from "../server/api/answers.ts";
import type { AnyRoute } from "../server/api/route.ts";
import { API_PREFIX, ROUTES } from "../server/api/routes.ts";
import { FRAME_BYTES_MAX } from "../protocol.ts";
import { outcomesOf } from "../testing/api_outcomes.ts";
import { ALL_SCOPES, ApiWorld } from "../testing/api_world.ts";
import { lacks, lacksProgram } from "../testing/permissions.ts";

const ignore = lacks("net", "read", "write");
// deno-lint-ignore no-explicit-any -- JSON whose shape is what the tests are about
type Json = any;
const openapi: Json = lacks("read") ? {} : JSON.parse(Deno.readTextFileSync(new URL("openapi.json", import.meta.url)));
const text = lacks("read") ? "" : Deno.readTextFileSync(new URL("API.md", import.meta.url));
/** Members whose values are the moment's, and whose examples show their form alone. */
const OF_THE_MOMENT = ["seq", "ts", "last_seen", "expires", "token", "epoch", "version"];

Deno.test({
  name: "API.md's curl examples answer what it says",
  ignore: ignore || lacksProgram("curl") || lacks("run"),
  async fn() {
    await using world = await ApiWorld.start({
      withTokens: true,
      keys: { shop: { scopes: { ...ALL_SCOPES, write: ["shop"] } } },
    });
    const examples = [...text.matchAll(/```sh\n(curl .*?)```\n+```json\n(.*?)```/gs)];
    assert(examples.length >= 12, String(examples.length));
    assertEquals(examples.length, text.match(/^curl /gm)!.length, "every call has its answer");
    for (const [, command, answer] of examples) {
      const env = { API: world.url(""), KEY: world.secrets.shop! };
      const args = ["-c", command!.replaceAll("curl ", "curl -sS ")];
      const { stdout, stderr } = await new Deno.Command("sh", { args, env }).output();
      assertEquals(new TextDecoder().decode(stderr), "");
      assertEquals(lasting(JSON.parse(new TextDecoder().decode(stdout))), lasting(JSON.parse(answer!)), command);
    }
  },
});

Deno.test({
  name: "API.md's table of errors has the statuses of the codes that the API answers with",
  ignore: lacks("read"),
  fn() {
    const rows = [...text.matchAll(/^\| (\d{3}) +\| (.*?) +\|/gm)];
    const told = new Set(
      rows.flatMap(([, status, codes]) => [...codes!.matchAll(/`(\w+)`/g)].map(([, code]) => `${status} ${code}`)),
    );
    const all = ROUTES.flatMap((route) => Object.entries(outcomesOf(route)))
      .flatMap(([status, codes]) => codes.map((code) => `${status} ${code}`));
    assertEquals([...told].sort(), [...new Set([...all, `${STATUS_OF.unknown_type} unknown_type`, "405 unknown_type"])].sort());
  },
});

Deno.test({
  name:
    "openapi.json has the routes of the server, with their scopes, parameters, bodies, limits and error codes, and no others",
  ignore: lacks("read"),
  fn() {
    assertEquals(openapi.servers, [{ url: API_PREFIX }]);
    const told = Object.entries<Json>(openapi.paths).flatMap(([at, methods]) =>
      Object.entries<Json>(methods).map(([method, operation]) => [`${method.toUpperCase()} ${at}`, summaryOf(operation)])
    );
    assertEquals(
      Object.fromEntries(told),
      Object.fromEntries(ROUTES.map((route) => [`${route.method} ${route.at}`, expected(route)])),
    );
    const ids = Object.values<Json>(openapi.paths).flatMap((methods) =>
      Object.values<Json>(methods).map(({ operationId }) => operationId)
    );
    assertEquals(new Set(ids).size, ROUTES.length);
  },
});

/** The parts of an operation that the code knows. */
function summaryOf(operation: Json): Json {
  const { parameters = [], requestBody, responses } = operation;
  const content = requestBody?.content["application/json"];
  const undescribed = ({ description: _, ...schema }: Json) => schema;
  return {
    scopes: operation["x-scopes"],
    parameters: parameters.map(({ name, in: where, required, schema }: Json) => ({ name, in: where, required, schema })),
    body: requestBody && {
      required: requestBody.required,
      bytes: requestBody["x-bytes-max"],
      members: Object.fromEntries(
        Object.entries(content.schema.properties).map(([name, schema]) => [name, undescribed(schema)]),
      ),
      requires: content.schema.required ?? [],
    },
    statuses: Object.keys(responses).map(Number).filter((status) => status < 300),
    errors: Object.fromEntries(
      Object.entries<Json>(responses).filter(([status]) => Number(status) >= 300)
        .map(([status, { description }]) => [status, description.split(", ")]),
    ),
  };
}

function expected(route: AnyRoute): Json {
  const parameters = [["path", route.path], ["query", route.query]].flatMap(([where, fields]) =>
    Object.entries<Json>(fields).map(([name, { required, schema }]) => ({ name, in: where, required, schema }))
  );
  const schema = { type: "string", minLength: 1, maxLength: 64 };
  const header = route.takesIdempotencyKey ? [{ name: "Idempotency-Key", in: "header", required: false, schema }] : [];
  const members = Object.entries<Json>(route.body?.members ?? {});
  return {
    scopes: [...new Set(route.scopes.map(([scope]) => scope))],
    parameters: [...parameters, ...header],
    body: route.body && {
      required: !route.body.isOptional,
      bytes: route.body.frames * FRAME_BYTES_MAX,
      members: Object.fromEntries(members.map(([name, { schema }]) => [name, schema])),
      requires: members.filter(([, { required }]) => required).map(([name]) => name),
    },
    statuses: [...route.statuses],
    errors: outcomesOf(route),
  };
}

for (const route of ROUTES) {
  Deno.test({
    name: `openapi.json's example of ${route.method} ${route.at} answers what it says`,
    ignore,
    async fn() {
      await using world = await ApiWorld.start({ withTokens: true });
      await populate(world);
      const { parameters = [], requestBody, responses } = openapi.paths[route.at][route.method.toLowerCase()];
      const given = parameters.filter(({ example }: Json) => example !== undefined);
      const inPath = (path: string, { name, example }: Json) => path.replace(`{${name}}`, encodeURIComponent(example));
      const path = given.filter((parameter: Json) => parameter.in === "path").reduce(inPath, route.at);
      const query = given.filter((parameter: Json) => parameter.in === "query")
        .map(({ name, example }: Json) => `${name}=${encodeURIComponent(example)}`).join("&");
      const answer = await world.ask(
        route.method,
        `${path}${query && "?"}${query}`,
        requestBody?.content["application/json"].example,
      );
      const documented = responses[answer.status]?.content?.["application/json"];
      assertEquals(lasting(answer.body), lasting(documented?.example), `${answer.status}`);
      if (documented) checkSchema(documented.schema, answer.body, "answer");
      assert(route.statuses.includes(answer.status as never));
    },
  });
}

/** Makes what the examples are about: two users, a message, and a group. */
async function populate(world: ApiWorld): Promise<void> {
  for (const user of ["alice", "bob"]) await world.ask("PUT", `/users/${user}`);
  const message = { sender: "shop", recipient: "alice", content: "Your order is on its way", id: "order-7" };
  await world.ask("POST", "/messages", message);
  await world.ask("PUT", "/groups/ops?as=shop");
  await world.ask("PUT", "/groups/ops/members/alice?as=shop");
}

/** Replaces what is the moment's in a value by the name of its type. */
function lasting(value: Json): Json {
  if (Array.isArray(value)) return value.map((entry) => lasting(entry));
  if (typeof value !== "object" || value === null) return value;
  const hasToken = Object.hasOwn(value, "token");
  return Object.fromEntries(
    Object.entries(value).map(([name, entry]) => {
      const isOfTheMoment = OF_THE_MOMENT.includes(name) || (hasToken && name === "id");
      return [name, isOfTheMoment ? typeof entry : lasting(entry)];
    }),
  );
}

/** Fails where a value is not as its schema says, as far as openapi.json uses schemas. */
function checkSchema(schema: Json, value: Json, where: string): void {
  if (schema.$ref) return checkSchema(openapi.components.schemas[schema.$ref.split("/").at(-1)], value, where);
  if (schema.oneOf) {
    return checkSchema(
      schema.oneOf.find(({ $ref }: Json) => $ref.endsWith("/Error") === (value.type === "error")),
      value,
      where,
    );
  }
  const type = Array.isArray(value) ? "array" : Number.isInteger(value) ? "integer" : typeof value;
  assertEquals(type, schema.type, where);
  if (schema.enum) assert(schema.enum.includes(value), where);
  if (type === "array") { for (const [i, entry] of value.entries()) checkSchema(schema.items, entry, `${where}[${i}]`); }
  if (type !== "object") return;
  for (const name of schema.required ?? []) assert(Object.hasOwn(value, name), `${where}.${name}`);
  for (const [name, entry] of Object.entries(value)) checkSchema(schema.properties[name], entry, `${where}.${name}`);
}
