import { assertEquals } from "@std/assert";
import type { BrokerRefusal, GroupRequest } from "../broker.ts";
import { decideGroup, type GroupChange, type GroupFacts } from "./group_rules.ts";
import { DEFAULT_LIMITS } from "./limits.ts";

const LIMITS = { ...DEFAULT_LIMITS, groupMembers: 3, groupsPerUser: 2 };
const KNOWN = ["ann", "ben", "cat", "dan", "eve"];

type Request = Exclude<GroupRequest, { readonly op: "list" }>;

const NOBODY: GroupFacts = {
  group: undefined,
  isKnown: (user) => KNOWN.includes(user),
  groupsOf: () => 0,
  invitationsOf: () => ({ byInviter: 0, byOthers: 0 }),
  hasDeclined: () => false,
};

interface World {
  members?: string[];
  passive?: string[];
  owner?: string;
  open?: boolean;
  gone?: boolean;
  /** Is in as many groups as one may be in. */
  busy?: string;
  /** Groups that everybody was brought into, by the one who asks and by others. */
  invitations?: [number, number];
  /** Has left the group after an invitation by ben. */
  declined?: string;
}

/** Decides in a world with `#g`, unless it is `gone`. */
function decide(request: Request, world: World = {}): string {
  const { members = ["ann", "ben"], passive = [], owner = "ann", open = false, gone = false, busy, declined } = world;
  const [byInviter, byOthers] = world.invitations ?? [0, 0];
  const facts: GroupFacts = {
    ...NOBODY,
    group: gone ? undefined : { owner, open, members: new Set(members), passive: new Set(passive) },
    groupsOf: (user) => user === busy ? LIMITS.groupsPerUser : 0,
    invitationsOf: () => ({ byInviter, byOthers }),
    hasDeclined: (user, inviter) => user === declined && inviter === "ben",
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
  assertEquals(decideGroup(create, NOBODY, LIMITS), {
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
    "enter dan",
  ], "an invitation takes no place of one's own");
});

Deno.test("decideGroup lets one inviter take half of what others have left of a user's places, and nobody more than all", () => {
  const invite: Request = { op: "invite", user: "ben", group, target: "dan" };
  const answers = ([[0, 0], [1, 0], [0, 1], [1, 1], [0, 2]] as [number, number][]).map((invitations) =>
    decide(invite, { invitations })
  );
  assertEquals(answers, ["enter dan", "limit_reached", "enter dan", "limit_reached", "limit_reached"]);
});

Deno.test("decideGroup refuses to bring back who has left after an invitation by the same person, not by another", () => {
  const invite = (user: string, target: string): Request => ({ op: "invite", user, group, target });
  assertEquals([decide(invite("ben", "dan"), { declined: "dan" }), decide(invite("ann", "dan"), { declined: "dan" })], [
    "forbidden",
    "enter dan",
  ]);
  assertEquals(decide({ op: "join", user: "dan", group }, { declined: "dan", open: true }), "enter dan");
});

Deno.test("decideGroup takes who was brought in for a member by their own will once they join", () => {
  const join: Request = { op: "join", user: "ben", group };
  assertEquals([decide(join, { passive: ["ben"] }), decide(join)], ["agree ben", "none"]);
});

Deno.test("decideGroup lets nobody remove members of a group that nobody owns", () => {
  const remove: Request = { op: "remove", user: "ben", group, target: "ann" };
  assertEquals([decide(remove, { owner: "", passive: ["ben"] }), decide(remove, { owner: "ben" })], ["forbidden", "exit ann"]);
});
