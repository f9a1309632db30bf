/** Questions and changes of a backend, which has no connection. What it may do is decided before. */

import type { BrokerRefusal, GroupAnswer, GroupRequest } from "../broker.ts";
import type { ClientFrameOf, ServerFrameOf } from "../protocol.ts";
import { timestamp } from "./encoding.ts";
import { type SlowWatch, timed } from "./meter.ts";
import { conversationPage, historyPage } from "./pages.ts";
import type { Watcher } from "./presence.ts";
import { notify, type RequestHost } from "./requests.ts";
import type { Session } from "./session.ts";

/** Needs of a {@linkcode Backend}, which the hub meets. */
export interface BackendHost extends RequestHost {
  /** Told how long pages took. */
  readonly slow: SlowWatch | undefined;
  /** Returns the connections of `user` to this node. */
  sessionsOf(user: string): readonly Session[];
}

/** Status of a user, as watchers are told; undefined for a user whom nobody knows. */
export type UserStatus = Omit<ServerFrameOf<"presence">, "type">;

/** The hub for backends, beside `Hub.submit`. */
export class Backend {
  readonly #host: BackendHost;

  constructor(host: BackendHost) {
    this.#host = host;
  }

  /** Reads a page of a conversation of `user`, cut to what one answer may have. */
  history(user: string, query: Omit<ClientFrameOf<"history">, "type" | "id">): ReturnType<typeof historyPage> {
    return timed(this.#host.slow, "history", historyPage(this.#host, user, query));
  }

  /** Reads a page of the conversations of `user`, with what they have read until now. */
  conversations(
    user: string,
    query: Omit<ClientFrameOf<"conversations">, "type" | "id">,
  ): ReturnType<typeof conversationPage> {
    this.#host.reportConfirmed(this.#host.sessionsOf(user));
    return timed(this.#host.slow, "conversations", conversationPage(this.#host, user, query));
  }

  /** Returns how users are connected to any node, and when they were last; undefined for those whom nobody knows. */
  async statuses(users: readonly string[]): Promise<(UserStatus | undefined)[]> {
    const { broker, presence } = this.#host;
    const watcher: Watcher = { congested: true, queue() {} };
    presence.watch(watcher, users);
    try {
      const [seen] = await Promise.all([broker.lastSeen(users), this.#host.watchElsewhere(users)]);
      return users.map((user, i) => {
        const status = presence.status(user), last = seen[i];
        if (last === undefined) return undefined;
        return status === "offline" && last > 0 ? { user, status, last_seen: timestamp(last) } : { user, status };
      });
    } finally {
      presence.unwatch(watcher);
    }
  }

  /**
   * Erases a user as `Erasure` of broker.ts says, after taking them out of their groups, whose members are told. Resolves with the
   * number of messages that were emptied; 0 for a user whom nobody knows.
   */
  async erase(user: string): Promise<number> {
    const { broker } = this.#host, [known] = await broker.lastSeen([user]);
    if (known === undefined) return 0;
    while (await this.#leaveSome(user));
    return await broker.erase(user);
  }

  /** Takes a user out of a page of groups; returns whether there may be more that they are in. */
  async #leaveSome(user: string): Promise<boolean> {
    const list = await this.group({ op: "list", user });
    if ("code" in list) return false;
    // Their own groups come first: after one that they are not in there are none.
    for (const { group } of list.groups ?? []) {
      const left = await this.group({ op: "leave", user, group });
      if ("code" in left && left.code === "not_member") return false;
    }
    return list.more === true;
  }

  /** Changes or asks about a group as `request.user`, by the rules for people, and tells those whom it concerns. */
  async group(request: GroupRequest): Promise<GroupAnswer | BrokerRefusal> {
    const answer = await this.#host.broker.group(request);
    if (!("code" in answer) && answer.changed && request.op !== "list") notify(this.#host, request, answer);
    return answer;
  }
}
