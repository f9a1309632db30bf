/** The client behind servers of TLS: it is told what the chat server says, and what is wrong with the front. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { certificate, filesIn } from "../testing/certificate.ts";
import { Front, type FrontName, FRONTS } from "../testing/front.ts";
import { CAN_RUN, lacksProgram } from "../testing/permissions.ts";
import { fromSource, RunningServer, runToEnd } from "../testing/process.ts";

const CLIENT = fromSource("client");
const SERVER = fromSource("server");

for (const [name, [command, version]] of Object.entries(FRONTS)) {
  Deno.test({
    name: `client behind ${name} connects, and says why where it cannot`,
    ignore: !CAN_RUN || lacksProgram(command, [version]) || lacksProgram("openssl", ["version"]),
    fn: async () => {
      const folder = await Deno.makeTempDir();
      await certificate(folder);
      const at = (file: string) => `${folder}/${file}`;
      assertEquals((await runToEnd(SERVER, ["keys", "--out", at("keys")])).code, 0);
      const key = at("keys/private.pem");
      const token = await runToEnd(SERVER, ["token", "--name", "bob", "--jwt-private-key", key]);
      await Deno.writeTextFile(at("bob"), token.out);
      await Deno.writeTextFile(at("forged"), "x.y.z");
      const env = { XDG_CONFIG_HOME: at("config"), XDG_STATE_HOME: at("state") };
      const server = await RunningServer.start(SERVER, ["--data", ":memory:", "--jwt-public-key", at("keys/public.pem")]);
      await using front = await Front.start(name as FrontName, folder, Number(new URL(server.url).port));
      const run = (...args: string[]) =>
        runToEnd(CLIENT, ["--server", `wss://127.0.0.1:${front.port}`, "--ca", filesIn(folder).ca, ...args], "", env);
      try {
        const told = [
          await run("--token-file", at("bob")),
          await run("--token-file", at("forged")),
          await run("--name", "bob"),
          await run("--token-file", at("bob"), "--server", `wss://127.0.0.1:${front.port}/elsewhere`),
        ];
        assertEquals(told.map(({ code }) => code), [0, 1, 1, 1], told.map(({ err }) => err).join("\n"));
        assertStringIncludes(told[0]!.err, "Connected to");
        assertStringIncludes(told[1]!.err, "did not accept the token");
        assertStringIncludes(told[2]!.err, "wants a token");
        assertStringIncludes(told[3]!.err, "There is no chat server at");
      } finally {
        await server[Symbol.asyncDispose]();
      }
      const down = await run("--token-file", at("bob"));
      assertEquals(down.code, 3, down.err);
      assertStringIncludes(down.err, name === "haproxy with h2" ? "full or restarting" : "behind it does not answer");
      if (command === "nginx") {
        const moved = await run("--token-file", at("bob"), "--server", `wss://127.0.0.1:${front.port}/moved`);
        assertStringIncludes(moved.err, "use --server wss://new.example/ws");
      }
      await front[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  });
}
