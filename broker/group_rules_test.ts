import { assertEquals } from "@std/assert";
import type { BrokerRefusal, GroupRequest } from "../broker.ts";
import { decideGroup, type GroupChange, type GroupFacts } from "./group_rules.ts";
import { DEFAULT_LIMITS } from "./limits.ts";

const LIMITS = { ...DEFAULT_LIMITS, groupMembers: 3, groupsPerUser: 2 };
const KNOWN = ["ann", "ben", "cat", "dan", "eve"];

type Request = Exclude<GroupRequest, { readonly op: "list" }>;

/** Decides in a world with `#g`, unless it is `gone`; `busy` is in as many groups as one may be in. */
function decide(request: Request, { members = ["ann", "ben"], open = false, gone = false, busy = "" } = {}): string {
  const facts: GroupFacts = {
    group: gone ? undefined : { owner: "ann", open, members: new Set(members) },
    isKnown: (user) => KNOWN.includes(user),
    groupsOf: (user) => user === busy ? LIMITS.groupsPerUser : 0,
  };
  return asWords(decideGroup(request, facts, LIMITS));
}

function asWords(decision: GroupChange | BrokerRefusal): string {
  if ("code" in decision) return decision.code;
  return "user" in decision ? `${decision.change} ${decision.user}` : decision.change;
}

const group = "#g";

Deno.test("decideGroup creates a group whose name is free, for an owner who may be in one more", () => {
  const create: Request = { op: "create", user: "eve", group, open: true };
  assertEquals(decideGroup(create, { group: undefined, isKnown: () => true, groupsOf: () => 0 }, LIMITS), {
    change: "create",
    owner: "eve",
    open: true,
  });
  assertEquals([decide(create), decide(create, { gone: true, busy: "eve" })], ["group_exists", "limit_reached"]);
});

Deno.test("decideGroup refuses every request but create about a group that is not there", () => {
  for (const op of ["join", "leave", "members"] as const) {
    assertEquals(decide({ op, user: "ann", group }, { gone: true }), "unknown_group", op);
  }
  for (const op of ["invite", "remove"] as const) {
    assertEquals(decide({ op, user: "ann", group, target: "ben" }, { gone: true }), "unknown_group", op);
  }
});

Deno.test("decideGroup lets everybody into an open group, and members alone into another", () => {
  const join = (user: string): Request => ({ op: "join", user, group });
  assertEquals([decide(join("cat"), { open: true }), decide(join("cat"))], ["enter cat", "forbidden"]);
  assertEquals([decide(join("ben"), { open: true }), decide(join("ben"))], ["none", "none"]);
});

Deno.test("decideGroup lets every member invite whom the server knows, and the owner alone remove members", () => {
  const invite = (user: string, target: string): Request => ({ op: "invite", user, group, target });
  assertEquals(
    [decide(invite("ben", "cat")), decide(invite("ben", "ann")), decide(invite("ben", "nobody")), decide(invite("cat", "dan"))],
    ["enter cat", "none", "unknown_recipient", "not_member"],
  );
  const remove = (user: string, target: string): Request => ({ op: "remove", user, group, target });
  assertEquals(
    [decide(remove("ann", "ben")), decide(remove("ben", "ann")), decide(remove("ann", "cat")), decide(remove("cat", "ann"))],
    ["exit ben", "forbidden", "not_member", "not_member"],
  );
  assertEquals(decide(remove("ann", "ann")), "exit ann");
});

Deno.test("decideGroup lets members leave and see who is in the group, and nobody else", () => {
  assertEquals([decide({ op: "leave", user: "ben", group }), decide({ op: "members", user: "ben", group })], [
    "exit ben",
    "none",
  ]);
  assertEquals([decide({ op: "leave", user: "cat", group }), decide({ op: "members", user: "cat", group })], [
    "not_member",
    "not_member",
  ]);
});

Deno.test("decideGroup bounds members and groups of those who are new, by joining and by invitation", () => {
  const full = { open: true, members: ["ann", "ben", "cat"] };
  const join = (user: string): Request => ({ op: "join", user, group });
  const invite: Request = { op: "invite", user: "ann", group, target: "dan" };
  assertEquals([decide(join("dan"), full), decide(invite, full), decide(join("cat"), full)], [
    "limit_reached",
    "limit_reached",
    "none",
  ]);
  assertEquals([decide(join("dan"), { open: true, busy: "dan" }), decide(invite, { busy: "dan" })], [
    "limit_reached",
    "limit_reached",
  ]);
  assertEquals(decide(invite, { busy: "ann" }), "enter dan", "the limit is that of the one who is invited");
});
