import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import * as protocol from "../protocol.ts";
import { lacks } from "../testing/permissions.ts";

const ignore = lacks("read");
const lines = ignore ? [] : Deno.readTextFileSync(new URL("PROTOCOL.md", import.meta.url)).split("\n");

Deno.test({
  name: "PROTOCOL.md's frames of clients and servers are those that the parser knows, member by member",
  ignore,
  fn: () => {
    for (const line of examples("C")) assertEquals<unknown>(protocol.parseClientFrame(line), JSON.parse(line), line);
    for (const line of examples("S")) assertEquals<unknown>(protocol.parseServerFrame(line), JSON.parse(line), line);
  },
});

Deno.test({
  name: "PROTOCOL.md shows every type of frame that there is",
  ignore,
  fn: () => {
    assertEquals(typesOf(examples("C")), [...protocol.CLIENT_TYPES].sort());
    assertEquals(typesOf(examples("S")), [...protocol.SERVER_TYPES].sort());
  },
});

Deno.test({
  name: "PROTOCOL.md's refused frames are refused with the code that it says, by the parser or by the level",
  ignore,
  fn: () => {
    const refused = examples("R").map((line) => line.split(/ (.*)/s, 2) as [string, string]);
    assert(refused.length > 10);
    for (const [code, frame] of refused) {
      const parsed = protocol.parseClientFrame(frame);
      // The one code here that the hub decides and not the parser.
      if (code === "hello_required") {
        assert(!(parsed instanceof protocol.Refusal), `${frame} is refused already`);
        continue;
      }
      assertInstanceOf(parsed, protocol.Refusal, `${frame} is not refused`);
      assertEquals(parsed.code, code, frame);
    }
  },
});

Deno.test({
  name: "PROTOCOL.md's tables of error and close codes are those of the code",
  ignore,
  fn: () => {
    const errors = rows("code", "retryable", "meaning").map(([code, retryable, meaning]) => {
      return [unquote(code!), { retryable: retryable === "yes", meaning }];
    });
    assertEquals<unknown>(errors, Object.entries(protocol.ERROR_CODES));
    const closes = rows("code", "name", "reconnect", "meaning").map(([code, name, reconnect, meaning]) => {
      return [name, { code: Number(code), reconnect, meaning }];
    });
    assertEquals<unknown>(closes, Object.entries(protocol.CLOSE_CODES));
  },
});

Deno.test({
  name: "PROTOCOL.md's limits are those of the code",
  ignore,
  fn: () => {
    const documented = rows("what", "how much", "constant").map(([, value, name]) => {
      return [unquote(name!), Number(value!.replaceAll(",", ""))];
    });
    const actual = Object.entries(protocol).filter(([name]) => name.endsWith("_MAX"));
    assertEquals<unknown>(Object.fromEntries(documented), Object.fromEntries(actual));
  },
});

/** The example lines that begin with `mark`, without it. */
function examples(mark: "C" | "S" | "R"): string[] {
  let fenced = false;
  return lines.filter((line) => {
    if (line.startsWith("```")) fenced = !fenced && line === "```text";
    return fenced && line.startsWith(`${mark} `);
  }).map((line) => line.slice(2));
}

function typesOf(frames: string[]): string[] {
  return [...new Set(frames.map((line) => JSON.parse(line).type).filter((type) => type !== undefined))].sort();
}

/** The cells of the table with this heading. */
function rows(...heading: string[]): string[][] {
  const start = lines.findIndex((line) => cells(line).join() === heading.join());
  assert(start >= 0, `There is no table of ${heading.join(", ")}`);
  const end = lines.findIndex((line, index) => index > start && !line.startsWith("|"));
  return lines.slice(start + 2, end < 0 ? lines.length : end).map(cells);
}

function cells(line: string): string[] {
  return line.split("|").slice(1, -1).map((cell) => cell.trim());
}

function unquote(cell: string): string {
  return cell.replaceAll("`", "");
}
