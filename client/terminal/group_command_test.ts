import { assertEquals, assertMatch } from "@std/assert";
import { groupAnswer, parseGroupCommand } from "./group_command.ts";

function parsed(rest: string, current?: string): unknown {
  const asked = parseGroupCommand(rest, current);
  if ("why" in asked) return asked.why;
  return [asked.op, asked.group, asked.people.join(" "), asked.open];
}

Deno.test("/group create makes a closed group for each word that says so, and nothing for a word that it does not know", () => {
  for (const word of ["closed", "private", "--closed"]) {
    assertEquals(parsed(`create #hr ${word}`), ["create", "#hr", "", false]);
  }
  assertEquals(parsed("create #hr"), ["create", "#hr", "", true]);
  assertMatch(String(parsed("create #hr clsoed")), /clsoed.*nothing was made: did you mean closed\?/);
  assertMatch(String(parsed("create #hr secret")), /nothing was made/);
  assertMatch(String(parsed("create #hr closed please")), /please/);
  assertMatch(String(parsed("create hr", "#ops")), /did you mean #hr\?/);
});

Deno.test("/group invite and remove take several people, and every other word is an error", () => {
  assertEquals(parsed("invite #ops bob @Carol, dave"), ["invite", "#ops", "bob carol dave", true]);
  assertEquals(parsed("remove bob", "#ops"), ["remove", "#ops", "bob", true]);
  assertMatch(String(parsed("invite #ops")), /needs a name/);
  assertMatch(String(parsed("leave #ops bob")), /takes no "bob"/);
  assertMatch(String(parsed("join ops", "#hr")), /did you mean #ops\?/);
  assertMatch(String(parsed("members")), /needs a #group/);
  assertMatch(String(parsed("crate #x")), /did you mean create\?/);
  assertEquals(parsed(""), ["list", undefined, "", true]);
});

Deno.test("the answer to /group create says who may come in", () => {
  const answer = { type: "group", op: "create", group: "#hr" } as const;
  assertMatch(groupAnswer(answer, false), /closed/);
  assertMatch(groupAnswer(answer, true), /anyone may join/);
});
