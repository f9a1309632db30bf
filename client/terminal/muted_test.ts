import { assertEquals } from "@std/assert";
import { lacks } from "../../testing/permissions.ts";
import { MutedFile, parseMute } from "./muted.ts";

Deno.test("parseMute takes mentions and a time in any order, and says what it does not know", () => {
  assertEquals(parseMute([], 0), { mentions: false, until: Infinity });
  assertEquals(parseMute(["2h", "mentions"], 1_000), { mentions: true, until: 7_201_000 });
  assertEquals(parseMute(["off"], 0), undefined);
  for (const words of [["mention"], ["2y"], ["off", "1h"], ["8"]]) {
    assertEquals(typeof parseMute(words, 0), "string", `${words}`);
  }
});

Deno.test({
  name: "MutedFile keeps the last decision on each conversation, and reads what another client appended",
  ignore: lacks("read", "write"),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      const file = new MutedFile(folder), other = new MutedFile(folder);
      assertEquals(file.load().size, 0);
      file.set("#ops", { mentions: true, until: Infinity });
      other.set("bob", { mentions: false, until: 5_000 });
      file.set("#lunch", { mentions: false, until: Infinity });
      other.set("#lunch", undefined);
      Deno.writeTextFileSync(`${folder}/muted`, "+", { append: true });
      assertEquals([...file.load()], [["#ops", { mentions: true, until: Infinity }], ["bob", {
        mentions: false,
        until: 5_000,
      }]]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
