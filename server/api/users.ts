/** Users: made known, looked up, erased, disconnected, revoked. */

import { reasonOf } from "../../ops/log.ts";
import { Refusal } from "../../protocol.ts";
import { USER, USERS } from "./fields.ts";
import { route, type Service } from "./route.ts";
import { type ApiKey, isAllowed } from "../../auth/api_keys.ts";

const ONE = { path: { user: USER }, query: {} };

/** Routes of users. */
export const USER_ROUTES = [
  route({
    ...ONE,
    method: "PUT",
    at: "/users/{user}",
    scopes: [["users", "user"]],
    statuses: [200, 201],
    codes: ["bad_name"],
    async answer({ values: { user }, service: { hub } }) {
      const [known] = await hub.broker.lastSeen([user]);
      if (known !== undefined) return { status: 200, body: { user, created: false } };
      await hub.broker.seen([user], 0);
      return { status: 201, body: { user, created: true } };
    },
  }),
  route({
    ...ONE,
    method: "GET",
    at: "/users/{user}",
    scopes: [["users", "user"]],
    statuses: [200],
    codes: ["bad_name", "unknown_recipient"],
    async answer({ values: { user }, service: { hub, revoked } }) {
      const [status] = await hub.backend.statuses([user]);
      if (!status) return new Refusal("unknown_recipient", `There is no user "${user}"`);
      return { status: 200, body: { ...status, revoked: revoked?.has(user, undefined) ?? false } };
    },
  }),
  route({
    ...ONE,
    method: "DELETE",
    at: "/users/{user}",
    scopes: [["erase", "user"]],
    statuses: [200],
    codes: ["bad_name"],
    async answer({ values: { user }, service: { hub, log }, key }) {
      const connections = await hub.disconnect(user);
      const messages = await hub.backend.erase(user);
      log("user_erased", { user, by: byKey(key), messages, connections });
      return { status: 200, body: { user, messages } };
    },
  }),
  route({
    ...ONE,
    method: "POST",
    at: "/users/{user}/disconnect",
    scopes: [["moderate", "user"]],
    statuses: [200],
    codes: ["bad_name"],
    async answer({ values: { user }, service: { hub }, key }) {
      const closed = await hub.disconnect(user);
      hub.disconnectedBy(byKey(key), user, closed);
      return { status: 200, body: { user, closed } };
    },
  }),
  route({
    ...ONE,
    method: "POST",
    at: "/users/{user}/revoke",
    scopes: [["moderate", "user"]],
    statuses: [200],
    codes: ["bad_name"],
    answer: ({ values: { user }, service, key }) => setRevoked(service, key, user, true),
  }),
  route({
    ...ONE,
    method: "POST",
    at: "/users/{user}/restore",
    scopes: [["moderate", "user"]],
    statuses: [200],
    codes: ["bad_name"],
    answer: ({ values: { user }, service, key }) => setRevoked(service, key, user, false),
  }),
  route({
    method: "GET",
    at: "/presence",
    path: {},
    query: { users: USERS },
    scopes: [["users"]],
    statuses: [200],
    codes: ["bad_name", "limit_reached"],
    async answer({ values: { users }, service: { hub }, key }) {
      const stranger = users.find((user) => !isAllowed(key, "users", user));
      if (stranger !== undefined) return new Refusal("forbidden", `The key may not look up "${stranger}"`);
      const statuses = await hub.backend.statuses(users);
      const rows = users.map((user, i) => ({
        ...statuses[i] ?? { user, status: "offline" },
        known: statuses[i] !== undefined,
      }));
      return { status: 200, body: { users: rows } };
    },
  }),
];

/** Names a key in the log. */
export function byKey({ name }: ApiKey): string {
  return `the API key ${name}`;
}

/** Puts a user on the list of the revoked that the server keeps beside the operator's, or takes them off it. */
async function setRevoked({ revoked, log }: Service, key: ApiKey, user: string, isRevoked: boolean) {
  const file = revoked?.keptFile;
  if (revoked === undefined || file === undefined) {
    return new Refusal("forbidden", "The server keeps no list of the revoked; start it with --revoked FILE");
  }
  try {
    await (isRevoked ? revoked.add(user) : revoked.remove(user));
  } catch (error) {
    log("failed", { task: `writing ${file}`, reason: reasonOf(error) });
    return new Refusal("unavailable", "The list of the revoked cannot be written; the server's log says why");
  }
  if (isRevoked) log("user_revoked", { user, by: byKey(key), file });
  else log("user_restored", { user, by: byKey(key), file });
  // Who is on the operator's own list, or on another node's, stays revoked.
  return { status: 200, body: { user, revoked: revoked.has(user, undefined), kept_in: file.replace(/^.*[/\\]/, "") } } as const;
}
