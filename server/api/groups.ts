/** Groups and their members. A backend acts as a user, by the rules that hold for people. */

import type { GroupRequest } from "../../broker.ts";
import { Refusal } from "../../protocol.ts";
import type { Answer } from "./answers.ts";
import { FLAG, GROUP, optional, USER } from "./fields.ts";
import { route, type Service } from "./route.ts";

const ACTING = { as: USER };
const SCOPES = [["groups", "group"], ["write", "as"]] as const;

/** Routes of groups. */
export const GROUP_ROUTES = [
  route({
    method: "PUT",
    at: "/groups/{group}",
    path: { group: GROUP },
    query: ACTING,
    body: { members: { open: optional(FLAG) }, isOptional: true, frames: 1 },
    scopes: SCOPES,
    statuses: [200, 201],
    codes: ["bad_name", "group_exists", "limit_reached"],
    async answer({ values: { group, as: user, open = false }, service }) {
      const created = await change(service, { op: "create", user, group, open });
      if (!(created instanceof Refusal)) return { status: 201, body: { group, owner: user, created: true } };
      if (created.code !== "group_exists") return created;
      const found = await change(service, { op: "members", user, group });
      // It is the group that was asked for where the caller is in it; else it is somebody else's.
      return found instanceof Refusal ? created : { status: 200, body: { ...ownerOf(found), group, created: false } };
    },
  }),
  route({
    method: "GET",
    at: "/groups/{group}",
    path: { group: GROUP },
    query: ACTING,
    scopes: SCOPES,
    statuses: [200],
    codes: ["bad_name", "unknown_group", "not_member"],
    async answer({ values: { group, as: user }, service }) {
      const found = await change(service, { op: "members", user, group });
      if (found instanceof Refusal) return found;
      return { status: 200, body: { group, ...ownerOf(found), members: found.members } };
    },
  }),
  route({
    method: "DELETE",
    at: "/groups/{group}",
    path: { group: GROUP },
    query: ACTING,
    scopes: SCOPES,
    statuses: [204],
    codes: ["bad_name", "not_member"],
    answer: ({ values: { group, as }, service }) => end(service, group, as),
  }),
  route({
    method: "PUT",
    at: "/groups/{group}/members/{user}",
    path: { group: GROUP, user: USER },
    query: ACTING,
    scopes: SCOPES,
    statuses: [200, 201],
    codes: ["bad_name", "unknown_group", "not_member", "unknown_recipient", "limit_reached"],
    async answer({ values: { group, user, as }, service }) {
      const request = user === as
        ? { op: "join", user, group } as const
        : { op: "invite", user: as, group, target: user } as const;
      const answer = await change(service, request);
      if (answer instanceof Refusal) return answer;
      return { status: answer.changed ? 201 : 200, body: { group, user, members: answer.members.length } };
    },
  }),
  route({
    method: "DELETE",
    at: "/groups/{group}/members/{user}",
    path: { group: GROUP, user: USER },
    query: ACTING,
    scopes: SCOPES,
    statuses: [204],
    codes: ["bad_name", "not_member"],
    async answer({ values: { group, user, as }, service }) {
      const found = await change(service, { op: "members", user: as, group });
      // Who asks to be out of it, and is, hears what others hear of them.
      if (found instanceof Refusal) return user === as && found.code === "not_member" ? NOTHING : gone(found);
      if (!found.members.includes(user)) return NOTHING;
      return await leave(service, group, user, as);
    },
  }),
];

const NOTHING: Answer = { status: 204 };

/** Takes everybody out of a group, its owner last, after whom it is no more. */
async function end(service: Service, group: string, owner: string): Promise<Answer | Refusal> {
  const found = await change(service, { op: "members", user: owner, group });
  if (found instanceof Refusal) return gone(found);
  if (found.owner !== owner) return new Refusal("forbidden", `Only the owner of "${group}" may end it`);
  for (const user of [...found.members.filter((member) => member !== owner), owner]) {
    const left = await leave(service, group, user, owner);
    // Somebody may have left by themselves meanwhile.
    if (left instanceof Refusal && left.code !== "not_member") return left;
  }
  return NOTHING;
}

async function leave(service: Service, group: string, user: string, as: string): Promise<Answer | Refusal> {
  const request = user === as
    ? { op: "leave", user, group } as const
    : { op: "remove", user: as, group, target: user } as const;
  const answer = await change(service, request);
  return answer instanceof Refusal ? gone(answer) : NOTHING;
}

/** Answers for what is gone already: asked again, it is as it was wanted. */
function gone(refusal: Refusal): Answer | Refusal {
  return refusal.code === "unknown_group" ? NOTHING : refusal;
}

async function change({ hub }: Service, request: GroupRequest) {
  const answer = await hub.backend.group(request);
  return "code" in answer ? new Refusal(answer.code, answer.message) : answer;
}

function ownerOf({ owner }: { readonly owner?: string }): { owner?: string } {
  return owner ? { owner } : {};
}
