/**
 * Things that this browser keeps in IndexedDB, for all tabs: newest messages of each conversation for when there is no connection,
 * messages that wait to be sent, and the position in the server's log.
 *
 * Nothing here is the only copy but what waits to be sent. Where the browser keeps nothing, everything still works until the
 * page is closed.
 */

import { type DBSchema, deleteDB, type IDBPDatabase, openDB } from "idb";
import type { Position } from "../chat_client.ts";
import type { Message } from "../protocol.ts";
import { SCOPE } from "./place.ts";
import type { Stored, Waiting } from "./tabs/words.ts";

/** Messages of a conversation that are kept: some screens to look at without a connection. */
const KEPT_MESSAGES = 200;
/** Messages over that which may be there before the oldest are removed, so that not every message removes one. */
const KEPT_SLACK = 100;

/** Milliseconds that the database may take: a tab that was frozen in the middle of a change holds all others up. */
const PATIENCE_MS = 2_000;

interface KeptMessage {
  readonly user: string;
  readonly with: string;
  readonly seq: number;
  readonly message: Stored;
}

/** A waiting message, with the device that sends it. */
interface KeptWaiting extends Waiting {
  readonly user: string;
  readonly device: string;
}

interface Schema extends DBSchema {
  messages: { key: [string, string, number]; value: KeptMessage };
  waiting: { key: string; value: KeptWaiting };
  values: { key: string; value: unknown };
}

const NAME = `parley:${SCOPE}`;

/** Keeps what has to outlive the page. Every method works, or does nothing, where the browser keeps nothing. */
export class Store {
  #db: IDBPDatabase<Schema> | undefined;
  #isClosed = false;
  readonly #counts = new Map<string, number>();

  /** Opens the database, or a store that keeps nothing. */
  static async open(): Promise<Store> {
    const store = new Store();
    await store.#open();
    // A change that begins as this page is frozen would end when it is thawed, and nobody could read until then.
    document.addEventListener("freeze", () => store.#leave());
    document.addEventListener("resume", () => void store.#open());
    return store;
  }

  async #open(): Promise<void> {
    if (this.#isClosed) return; // it would be made anew after everything was erased
    try {
      const db = await openDB<Schema>(NAME, 1, {
        upgrade(db) {
          db.createObjectStore("messages", { keyPath: ["user", "with", "seq"] });
          db.createObjectStore("waiting", { keyPath: "id" });
          db.createObjectStore("values");
        },
        // Another tab erases everything, or is of a newer version. This one may have been loaded a moment before, and goes on.
        blocking: () => {
          db.close();
          this.#leave();
          void this.#open();
        },
      });
      if (this.#isClosed || this.#db) db.close();
      else this.#db = db;
    } catch { /* the browser keeps nothing */ }
  }

  #leave(): void {
    this.#db?.close();
    this.#db = undefined;
    this.#counts.clear();
  }

  /** Keeps nothing from now on: what is on its way is not to come back after everything was erased. */
  close(): void {
    this.#isClosed = true;
    this.#db?.close();
    this.#db = undefined;
  }

  /** True where something outlives the page. */
  get isKeeping(): boolean {
    return this.#db !== undefined;
  }

  /** Keeps messages of `user`'s conversations. */
  async keep(user: string, entries: readonly { readonly with: string; readonly message: Stored }[]): Promise<void> {
    await this.#try(async (db) => {
      const tx = db.transaction("messages", "readwrite", { durability: "relaxed" });
      for (const { with: other, message } of entries) {
        void tx.store.put({ user, with: other, seq: message.seq, message });
        const count = this.#counts.get(other) ?? await tx.store.count(conversationRange(user, other));
        this.#counts.set(other, count + 1);
        if (count <= KEPT_MESSAGES + KEPT_SLACK) continue;
        this.#counts.delete(other);
        const keys = await tx.store.getAllKeys(conversationRange(user, other));
        const bound = keys.at(-KEPT_MESSAGES);
        if (bound) void tx.store.delete(IDBKeyRange.bound([user, other, 0], bound, false, true));
      }
      await tx.done;
    });
  }

  /** Returns kept messages of a conversation below `before`, oldest first. */
  async messages(user: string, other: string, before = Infinity, limit = 100): Promise<Stored[]> {
    const found: Stored[] = [];
    await this.#try(async (db) => {
      const range = IDBKeyRange.bound([user, other, 0], [user, other, before], false, true);
      let cursor = await db.transaction("messages").store.openCursor(range, "prev");
      while (cursor && found.length < limit) {
        found.push(cursor.value.message);
        cursor = await cursor.continue();
      }
    });
    return found.reverse();
  }

  /** Forgets all messages of `user`, as positions of another log say nothing. */
  async clearMessages(user: string): Promise<void> {
    this.#counts.clear();
    await this.#try((db) => db.delete("messages", IDBKeyRange.bound([user], [user, []])));
  }

  /** Returns the messages of a device that wait, oldest first. */
  async waiting(user: string, device: string): Promise<Waiting[]> {
    const rows: KeptWaiting[] = [];
    await this.#try(async (db) => void rows.push(...await db.getAll("waiting")));
    return rows.filter((row) => row.user === user && row.device === device).sort((a, b) => a.at - b.at);
  }

  /** Keeps a message that waits. Resolves when it is kept. */
  async putWaiting(user: string, device: string, waiting: Waiting): Promise<void> {
    await this.#try((db) => db.put("waiting", { ...waiting, user, device }));
  }

  /** Forgets a message that waited. */
  async dropWaiting(id: string): Promise<void> {
    await this.#try((db) => db.delete("waiting", id));
  }

  /** Returns a kept value. */
  async value<T>(key: string): Promise<T | undefined> {
    let value: unknown;
    await this.#try(async (db) => value = await db.get("values", key));
    return value as T | undefined;
  }

  /** Keeps a value. */
  async putValue(key: string, value: unknown): Promise<void> {
    await this.#try((db) => db.put("values", value, key));
  }

  /** Erases everything. */
  async erase(): Promise<void> {
    this.close();
    try {
      await deleteDB(NAME);
    } catch { /* nothing was kept */ }
  }

  /** A browser may take the database away at any time: when it is full, or its user clears it. */
  async #try(use: (db: IDBPDatabase<Schema>) => Promise<unknown>): Promise<void> {
    if (!this.#db) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, PATIENCE_MS));
    try {
      await Promise.race([use(this.#db), late]);
    } catch (error) {
      console.warn("This browser did not keep something:", error instanceof Error ? error.name : error);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Key of the position in the log that a device has. */
export function positionKey(user: string, device: string): string {
  return `position ${user} ${device}`;
}

/** A kept position. */
export type { Position };

/** Returns the other side of what `Store.keep` takes. */
export function isStored(message: Message): message is Stored {
  return message.seq !== undefined && message.ts !== undefined;
}

function conversationRange(user: string, other: string): IDBKeyRange {
  return IDBKeyRange.bound([user, other, 0], [user, other, Infinity]);
}
