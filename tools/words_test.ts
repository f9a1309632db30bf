/** Words of the comments: the first is a verb or the thing's name, so that the subject comes first. */

import { assertEquals } from "@std/assert";
import { lacks } from "../testing/permissions.ts";

const ROOT = new URL("..", import.meta.url);
const SKIPPED = ["node_modules", "dist", "data", "coverage"];
/** Matches a doc comment that begins with a question word. */
const QUESTION_REGEXP = /^[ \t]*\/\*\*\s*(?:\*\s*)?(?:What|Whether|Where|How|Who|Whom|Whose|Which|Why|When)\b.*/gm;

Deno.test({
  name: "doc comments begin with a verb or the name of the thing",
  ignore: lacks("read"),
  fn: async () => {
    const wrong: string[] = [];
    for await (const path of sources()) {
      for (const comment of questionsOf(await Deno.readTextFile(new URL(path, ROOT)))) wrong.push(`${path}: ${comment}`);
    }
    assertEquals(wrong, []);
  },
});

Deno.test("the rule on comments finds what it is for", () => {
  const text = `/** What is kept. */\n/** Kept. */\n  /**\n   * Whether it is.\n   */\n// Where it is\n`;
  assertEquals(questionsOf(text).length, 2);
});

function questionsOf(text: string): string[] {
  return [...text.matchAll(QUESTION_REGEXP)].map(([comment]) => comment.trim().replace(/\s+/g, " "));
}

async function* sources(folder = ""): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(new URL(folder, ROOT))) {
    if (name.startsWith(".") || SKIPPED.includes(name)) continue;
    if (isDirectory) yield* sources(`${folder}${name}/`);
    else if (/\.tsx?$/.test(name)) yield folder + name;
  }
}
