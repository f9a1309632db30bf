import { assertEquals, assertMatch } from "@std/assert";
import { openSqliteFeedDesk } from "../broker/sqlite.ts";
import { parseOptions } from "../cli/options.ts";
import { lacks } from "../testing/permissions.ts";
import { open } from "../testing/sqlite_folder.ts";
import { WEBHOOK_OPTIONS } from "./options.ts";
import { webhookCommand } from "./webhook_command.ts";

Deno.test({
  name: "webhook - an order that the server has not carried out yet is not lost for a later one",
  ignore: lacks("read", "write", "net"),
  async fn() {
    const dir = await Deno.makeTempDir({ prefix: "webhook-command-" });
    try {
      {
        await using broker = await open(dir);
        await broker.feed.claim("push", 1_000);
        await broker.feed.save("push", JSON.stringify({ begun: [], gone: true }));
      }
      const orderOf = async (...args: string[]) => {
        const { values, operands } = parseOptions(WEBHOOK_OPTIONS, [...args, "--data", dir]);
        await webhookCommand(operands, values);
        await using desk = openSqliteFeedDesk(dir);
        const [{ wish } = { wish: undefined }] = await desk.list();
        return JSON.parse(wish!);
      };
      assertEquals(await orderOf("enable", "push"), { do: "enable" });
      assertEquals(await orderOf("replay", "push", "--from", "7"), { do: "replay", from: 7 });
      assertEquals(await orderOf("enable", "push"), { do: "replay", from: 7 }, "a replay lets it go on, too");
      assertEquals(await orderOf("replay", "push", "--from", "9"), { do: "replay", from: 7 });
      assertEquals(await orderOf("replay", "push", "--from", "3"), { do: "replay", from: 3 });
      const { values, operands } = parseOptions(WEBHOOK_OPTIONS, ["list", "--data", dir]);
      assertMatch(await webhookCommand(operands, values), /^push: .*410 Gone.*an order waits for the server$/);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});
