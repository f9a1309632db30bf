import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { CHAT_COMMANDS, commonStart, complete, helpLines, parseInput } from "./commands.ts";

const FROM = { names: ["#ops", "alice", "alan"], people: ["alice", "alan"], groups: ["#ops"] };

Deno.test("parseInput tells text, messages to a name, and commands", () => {
  assertEquals(parseInput("  "), { kind: "nothing" });
  assertEquals(parseInput("hello @you"), { kind: "text", text: "hello @you" });
  assertEquals(parseInput("//etc is a folder"), { kind: "text", text: "/etc is a folder" });
  assertEquals(parseInput("@Alice: hi there\nyou"), { kind: "message", to: "alice", text: "hi there\nyou" });
  assertEquals(parseInput("@#ops hi"), { kind: "message", to: "#ops", text: "hi" });
  assertEquals(parseInput("/quit\nnow"), { kind: "text", text: "/quit\nnow" });
  assertEquals(parseInput("/TO  alice "), { kind: "command", name: "to", rest: "alice" });
});

Deno.test("parseInput sends nothing for a slip, and suggests", () => {
  for (
    const [typed, near] of [["/hlep", "help"], ["/histroy 5", "history"], ["/qui", "quit"], ["/qiut", "quit"], [
      "/grup x",
      "group",
    ], ["/exit", "quit"]] as const
  ) {
    const input = parseInput(typed);
    assert(input.kind === "wrong");
    assertStringIncludes(input.why, `Did you mean /${near}?`);
  }
  const far = parseInput("/xyzzy");
  assert(far.kind === "wrong" && far.why.includes("/help lists"));
  assertEquals(parseInput("@alice").kind, "wrong");
  assertEquals(parseInput("@two\u0007 x").kind, "wrong");
});

const candidates = (line: string) => complete(line, FROM).candidates;

Deno.test("complete knows commands, names, groups and what a command takes", () => {
  assertEquals(candidates("/re"), ["/reply", "/receipts"]);
  assertEquals(candidates("@al"), ["@alice", "@alan"]);
  assertEquals(candidates("/to a"), ["alice", "alan"]);
  assertEquals(candidates("/to #"), ["#ops"]);
  assertEquals(candidates("/away o"), ["on", "off"]);
  assertEquals(candidates("/group jo"), ["join"]);
  assertEquals(candidates("/group join "), ["#ops"]);
  assertEquals(candidates("/help rec"), ["receipts"]);
  assertEquals(candidates("/group invite #ops a"), ["alice", "alan"]);
  assertEquals(candidates("/group invite a"), ["alice", "alan"]);
  assertEquals(candidates("/mute #ops m"), ["mentions"]);
  assertEquals(candidates("/search @a"), ["@alice", "@alan"]);
  assertEquals(candidates("/msg al"), ["alice", "alan"]);
});

Deno.test("complete knows names within a text, after an at sign or their first letters", () => {
  assertEquals(candidates("hello al"), ["alice", "alan"]);
  assertEquals(candidates("ask @ali"), ["@alice"]);
  assertEquals(candidates("look into #o"), ["#ops"]);
  assertEquals(candidates("@alice where is al"), ["alice", "alan"]);
  assertEquals(candidates("/msg alice ask @al"), ["@alice", "@alan"]);
  for (const line of ["", "a", "hello a", "/nothing al", "/to alice a", "/quit a", "/__proto__ a"]) {
    assertEquals(candidates(line), []);
  }
});

Deno.test("commonStart finds what all words begin with", () => {
  assertEquals([commonStart(["reply", "receipts"]), commonStart(["a"]), commonStart([]), commonStart(["a", "b"])], [
    "re",
    "a",
    "",
    "",
  ]);
});

Deno.test("helpLines lists every command, or the one that is asked for", () => {
  assertEquals(helpLines().length, Object.keys(CHAT_COMMANDS).length + 3);
  assertEquals(helpLines("/quit").length, 1);
  assertEquals(helpLines("nothing"), ["There is no command /nothing"]);
});

Deno.test("helpLines are cut between words, and never wider than the terminal", () => {
  const words = (lines: string[]) => lines.join(" ").split(/\s+/).filter((word) => word !== "");
  for (const columns of [40, 60, 80, 100]) {
    const lines = helpLines("", columns);
    assertEquals(lines.filter((line) => line.length >= columns), []);
    assertEquals(words(lines), words(helpLines()));
  }
  assertEquals(helpLines("who", 30), ["  /who [NAME]", "      Show who is online, or", "      when they last were"]);
});
