import { assertEquals } from "@std/assert";
import { lacks } from "../../testing/permissions.ts";

/** Parts of statements that are not to stand in any. */
const FORBIDDEN = {
  "a numbered parameter: Deno 2.5 cannot bind one that stands there twice": /\?[1-9]\d*\b/,
  "a bare LIMIT or OFFSET: SQLite prepares the statement anew for every value": /\b(LIMIT|OFFSET) \?(?! \+ 0)/,
};

Deno.test({
  name: "no statement of SQLite has what an older runtime cannot bind, or what SQLite prepares anew for every value",
  ignore: lacks("read"),
  async fn() {
    assertEquals(Object.values(FORBIDDEN).map((part) => part.test("WHERE seq > ?1 LIMIT ?")), [true, true]);
    const found: string[] = [];
    const files = [...Deno.readDirSync(import.meta.dirname!)].map(({ name }) => name).filter((name) =>
      /(?<!_test)\.ts$/.test(name)
    );
    assertEquals(files.includes("positions.ts"), true);
    for (const file of files) {
      const lines = (await Deno.readTextFile(`${import.meta.dirname}/${file}`)).split("\n");
      for (const [index, line] of lines.entries()) {
        if (/^\s*\*/.test(line)) continue;
        for (const [words, part] of Object.entries(FORBIDDEN)) {
          if (part.test(line)) found.push(`${file}:${index + 1}: ${words}`);
        }
      }
    }
    assertEquals(found, []);
  },
});
