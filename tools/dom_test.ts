/** Type checks of the modules that browsers load, with the types of browsers alone. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import config from "../deno.json" with { type: "json" };
import dom from "./dom.json" with { type: "json" };
import { CAN_RUN } from "../testing/permissions.ts";

const ROOT = new URL("..", import.meta.url);
const [DENO, ...ARGS] = config.tasks["check:dom"].command.split(" ");
const PATHS = ARGS.filter((arg) => /\.ts$|\/$/.test(arg));

Deno.test("dom.json is as strict as deno.json, and differs in the library alone", () => {
  const { lib: _, ...strictness } = dom.compilerOptions;
  const { types: __, ...wanted } = config.compilerOptions;
  assertEquals(strictness, wanted);
  assert(dom.compilerOptions.lib.every((name) => !name.startsWith("deno")));
});

Deno.test({
  name: "the protocol and the chat client use nothing that browsers do not have",
  ignore: !CAN_RUN,
  fn: async () => {
    assertEquals(PATHS, ["chat_client.ts", "chat_client/", "protocol.ts"]);
    const { success, stderr } = await check(PATHS);
    assert(success, stderr);
  },
});

Deno.test({
  name: "the check fails for a module that uses Deno, or something of Node.js",
  ignore: !CAN_RUN,
  fn: async () => {
    const file = await Deno.makeTempFile({ suffix: ".ts" });
    try {
      for (const [text, missing] of [["Deno.pid", "'Deno'"], ["process.pid", "'process'"]] as const) {
        await Deno.writeTextFile(file, `export const value = ${text};\n`);
        const { success, stderr } = await check([file]);
        assert(!success, `${text} passed`);
        assertStringIncludes(stderr, missing);
      }
      await Deno.writeTextFile(file, "export const value = document.title;\n");
      const { success, stderr } = await check([file]);
      assert(success, stderr);
    } finally {
      await Deno.remove(file);
    }
  },
});

/** Runs the command of the task on other paths. */
async function check(paths: readonly string[]): Promise<{ success: boolean; stderr: string }> {
  assertEquals(DENO, "deno");
  const args = [...ARGS.filter((arg) => !PATHS.includes(arg)), ...paths];
  const options = { args, cwd: decodeURIComponent(ROOT.pathname), env: { NO_COLOR: "1" }, stdin: "null" as const };
  const { success, stderr } = await new Deno.Command(Deno.execPath(), options).output();
  return { success, stderr: new TextDecoder().decode(stderr) };
}
