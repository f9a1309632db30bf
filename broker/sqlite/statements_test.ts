import { assertEquals } from "@std/assert";
import { lacks } from "../../testing/permissions.ts";

/** A parameter with a number in a template or a string. */
const NUMBERED = /\?[1-9]\d*\b/;

Deno.test({
  name: "no statement of SQLite has numbered parameters: Deno 2.5 cannot bind one that stands in it twice",
  ignore: lacks("read"),
  async fn() {
    const found: string[] = [];
    const files = [...Deno.readDirSync(import.meta.dirname!)].map(({ name }) => name).filter((name) =>
      /(?<!_test)\.ts$/.test(name)
    );
    for (const file of files) {
      const lines = (await Deno.readTextFile(`${import.meta.dirname}/${file}`)).split("\n");
      for (const [index, line] of lines.entries()) if (NUMBERED.test(line)) found.push(`${file}:${index + 1}: ${line.trim()}`);
    }
    assertEquals(files.includes("positions.ts"), true);
    assertEquals(NUMBERED.test("WHERE thread = ?1 AND seq > ?2"), true);
    assertEquals(found, []);
  },
});
