/** The server itself: what it counts, and tokens of it. */

import { timestamp } from "../../hub.ts";
import { Refusal } from "../../protocol.ts";
import { integer, optional, USER } from "./fields.ts";
import { route } from "./route.ts";
import { byKey } from "./users.ts";

/** Seconds that a token lasts at least, and at most: one for the length of a visit, which a leak does not outlive by much. */
const TTL_MIN_S = 60, TTL_MAX_S = 30 * 86_400;
/** Seconds that a token lasts where nobody says. */
const TTL_S = 3_600;

/** Routes of the server itself. */
export const SERVICE_ROUTES = [
  route({
    method: "GET",
    at: "/stats",
    path: {},
    query: {},
    scopes: [["stats"]],
    statuses: [200],
    codes: [],
    answer({ service: { hub, version } }) {
      const { base, extended, undecided, behind, queuedBytes } = hub.measure();
      const node = hub.broker.cluster?.node;
      const body = {
        version,
        epoch: hub.broker.epoch,
        ...node !== undefined && { node },
        users: hub.counts.users,
        connections: { base, extended, undecided },
        devices_behind: behind,
        queued_bytes: queuedBytes,
      };
      return Promise.resolve({ status: 200, body });
    },
  }),
  route({
    method: "POST",
    at: "/tokens",
    path: {},
    query: {},
    body: { members: { user: USER, ttl: optional(integer(TTL_MIN_S, TTL_MAX_S)) }, frames: 1 },
    scopes: [["tokens", "user"]],
    statuses: [201],
    codes: ["bad_name"],
    async answer({ values: { user, ttl = TTL_S }, service: { makeToken, revoked, log }, key }) {
      if (!makeToken) {
        const words =
          "The server holds no key that signs tokens, which is that of --jwt-secret-file: sign them where the key is";
        return new Refusal("forbidden", words);
      }
      if (revoked?.has(user, undefined)) return new Refusal("forbidden", `"${user}" is revoked`);
      const expires = timestamp(Date.now() + ttl * 1_000);
      const { token, id } = await makeToken(user, ttl);
      log("token_made", { user, id, seconds: ttl, by: byKey(key) });
      return { status: 201, body: { token, user, id, expires } };
    },
  }),
];
