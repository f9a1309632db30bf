/** The log as a whole, in memory. */

import type { Cursor, Feed, FeedPage, GroupAnswer, GroupEvent, GroupRequest, Stored, Subscription } from "../../broker.ts";
import type { Clocks } from "../clocks.ts";
import { CHANGES_KEPT, FEED_CHARS_MAX } from "../limits.ts";
import { isGroup } from "../names.ts";
import type { MemoryState } from "./state.ts";

/** The feed of one {@linkcode MemoryState}. */
export class MemoryFeed implements Feed {
  readonly #state: MemoryState;
  readonly #clocks: Clocks;
  readonly #watchers = new Set<() => void>();
  readonly #cursors = new Map<string, string>();
  #changes: GroupEvent[] = [];
  #changesRemoved = 0;
  #changed = 0;

  constructor(state: MemoryState, clocks: Clocks) {
    this.#state = state;
    this.#clocks = clocks;
  }

  /** Tells those who watch that something was added. */
  notify(): void {
    for (const changed of this.#watchers) changed();
  }

  /** Keeps a change that `request` has made. */
  note(request: Exclude<GroupRequest, { op: "list" }>, { members, owner = "" }: GroupAnswer): void {
    const { op, group, user: by } = request, user = "target" in request ? request.target : by;
    if (op === "members") return;
    this.#changes.push({
      number: ++this.#changed,
      ts: this.#clocks.now(),
      group,
      op,
      user,
      by,
      owner,
      members: members.length,
    });
    if (this.#changes.length > CHANGES_KEPT * 2) {
      this.#changes = this.#changes.slice(-CHANGES_KEPT);
      this.#changesRemoved = this.#changes[0]!.number - 1;
    }
    this.notify();
  }

  ends(): Promise<{ readonly message: number; readonly change: number }> {
    return Promise.resolve({ message: this.#state.log.head, change: this.#changed });
  }

  messages(after: number, limit: number): Promise<FeedPage<Stored>> {
    const { log } = this.#state, items: Stored[] = [];
    let upTo = after;
    for (let chars = 0; upTo < log.head && items.length < limit && chars <= FEED_CHARS_MAX;) {
      const message = log.get(++upTo);
      if (!message) continue;
      items.push(message);
      chars += message.content.length;
    }
    return this.#page(items, upTo, this.#state.removed);
  }

  changes(after: number, limit: number): Promise<FeedPage<GroupEvent>> {
    const start = Math.max(0, after - (this.#changed - this.#changes.length));
    const items = this.#changes.slice(start, start + limit);
    return this.#page(
      items,
      items.length === limit ? items.at(-1)!.number : Math.max(after, this.#changed),
      this.#changesRemoved,
    );
  }

  #page<T>(items: readonly T[], upTo: number, removed: number): Promise<FeedPage<T>> {
    return Promise.resolve({ items, upTo, removed, now: this.#clocks.now() });
  }

  undelivered(messages: readonly Stored[]): Promise<readonly (readonly string[])[]> {
    return Promise.resolve(messages.map((message) => this.#without(message)));
  }

  #without({ sender, recipient, seq }: Stored): readonly string[] {
    const { users, groups } = this.#state;
    const thread = isGroup(recipient) ? groups.get(recipient) : users.get(sender)?.threads.get(recipient);
    const without: string[] = [];
    for (const [name, since] of thread?.members ?? []) {
      if (name !== sender && since < seq && (thread!.markers.get(name)?.delivered ?? 0) < seq) without.push(name);
    }
    return without;
  }

  claim(name: string): Promise<Cursor | undefined> {
    return Promise.resolve({ state: this.#cursors.get(name) ?? "", wish: undefined });
  }

  save(name: string, state: string): Promise<boolean> {
    this.#cursors.set(name, state);
    return Promise.resolve(true);
  }

  release(): Promise<void> {
    return Promise.resolve();
  }

  watch(changed: () => void): Subscription {
    this.#watchers.add(changed);
    return { close: () => void this.#watchers.delete(changed) };
  }
}
