import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { parseOptions } from "../cli/options.ts";
import { hints } from "./announce.ts";
import { SERVER_OPTIONS } from "./options.ts";

const TASKS = { server: "deno task server", client: "deno task client" };

Deno.test("hints name the programs as they were started, and keys where they lie", () => {
  const of = (...args: string[]) => hints(parseOptions(SERVER_OPTIONS, args).values, " --server ws://x:1/ws", TASKS);
  assertEquals(of().split("\n").slice(1), [
    "  deno task client --name alice --server ws://x:1/ws",
    "  deno task client --name bob --to alice --server ws://x:1/ws",
  ]);
  const withKey = of("--jwt-public-key", "public/public.pem");
  assertStringIncludes(withKey, "deno task server token --name alice --jwt-private-key public/private.pem --out");
  assert(!withKey.includes("./chat"));
  assertStringIncludes(of("--jwt-secret-file", "s"), "--jwt-secret-file s --out");
});
