/** Copies of `chat-server backup` can be put in the place of what was lost: with the permissions that the program has. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { CAN_RUN } from "../testing/permissions.ts";
import { fromSource, RunningServer, runToEnd } from "../testing/process.ts";

Deno.test({
  name: "backup - a copy made while the server runs has what was acknowledged, and a server starts on it",
  ignore: !CAN_RUN,
  async fn() {
    const dir = await Deno.makeTempDir({ prefix: "backup-" });
    {
      await using server = await RunningServer.start(fromSource("server"), ["--data", `${dir}/data`]);
      await ask(server.url, { sender: "alice", recipient: "alice", content: "kept", id: "1" }, "ack");
      const { code, err } = await runToEnd(fromSource("server"), ["backup", "--data", `${dir}/data`, `${dir}/copy.db`]);
      assertEquals([code, err], [0, ""]);
    }
    await Deno.mkdir(`${dir}/restored`);
    await Deno.rename(`${dir}/copy.db`, `${dir}/restored/parley.db`);
    {
      await using server = await RunningServer.start(fromSource("server"), ["--data", `${dir}/restored`]);
      assertStringIncludes(await ask(server.url, { type: "history", id: "h", with: "alice", limit: 1 }, "history"), '"kept"');
    }
    await Deno.remove(dir, { recursive: true });
  },
});

/** Says hello as alice, sends a frame, and gives the first answer of a type. */
async function ask(url: string, frame: unknown, type: string): Promise<string> {
  const socket = new WebSocket(url);
  const answer = await new Promise<string>((resolve, reject) => {
    socket.onopen = () => {
      for (const each of [{ type: "hello", v: 1, name: "alice", device: "d" }, frame]) socket.send(JSON.stringify(each));
    };
    socket.onerror = () => reject(new Error("The connection broke"));
    socket.onmessage = ({ data }) => data.includes(`"type":"${type}"`) && resolve(data);
  });
  await new Promise((resolve) => {
    socket.onclose = resolve;
    socket.close();
  });
  return answer;
}
