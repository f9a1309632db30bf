import { assert, assertEquals, assertMatch } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { DAY_MS, DEFAULT_LIMITS } from "../limits.ts";
import { SECOND_LOOK_MS } from "./retention.ts";
import { migrate } from "./schema.ts";
import { finish } from "./steps.ts";
import { SqliteStore } from "./store.ts";

/** A day in 2026 on which the clock is right. */
const TODAY = 1_780_000_000_000;
const MINUTE_MS = 60_000;

/** A database whose server is started and stopped, under clocks that a test sets. */
class Starts implements Disposable {
  readonly notices: string[] = [];
  readonly #database = new DatabaseSync(":memory:");
  #store!: SqliteStore;
  #wall = TODAY;
  #monotonic = 0;

  constructor(readonly retentionDays = 30) {
    migrate(this.#database);
    this.start(TODAY);
    for (const user of ["ann", "ben"]) finish(this.#store.attach(user, "laptop"));
  }

  /** Starts anew with the clock at `wall`, and looks for what is too old as a server does at its start. */
  start(wall: number, retentionDays = this.retentionDays): this {
    this.#wall = wall;
    this.#monotonic = 0;
    const clocks = { now: () => this.#wall, monotonic: () => this.#monotonic };
    this.#store = new SqliteStore(this.#database, { ...DEFAULT_LIMITS, retentionDays }, {
      clocks,
      notice: (words) => this.notices.push(words),
    });
    return this.expire();
  }

  /** Lets time pass, an hour at a time as a server sees it, and looks after each. */
  run(ms: number): this {
    for (let left = ms; left > 0; left -= SECOND_LOOK_MS) {
      const passed = Math.min(left, SECOND_LOOK_MS);
      this.#wall += passed;
      this.#monotonic += passed;
      this.expire();
    }
    return this;
  }

  /** Sets the clock, and looks. */
  step(ms: number): this {
    this.#wall += ms;
    return this.expire();
  }

  send(content: string): this {
    this.#store.append([{ sender: "ann", recipient: "ben", content, id: undefined, origin: "" }]);
    this.#store.flush();
    return this;
  }

  expire(): this {
    while (this.#store.expire() > 0);
    return this;
  }

  get kept(): string {
    return finish(this.#store.read("ben", 0, 5_000)).messages.map(({ content }) => content).join(" ");
  }

  get store(): SqliteStore {
    return this.#store;
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}

Deno.test("Retention removes nothing for one start with the clock in the past, of this start or of before", () => {
  using starts = new Starts();
  starts.send("before").start(TODAY - 40 * DAY_MS).run(3 * SECOND_LOOK_MS).send("in the past");
  starts.start(TODAY + MINUTE_MS).run(3 * SECOND_LOOK_MS).send("after");
  assertEquals(starts.kept, "before in the past after");
  assertEquals(starts.run(29 * DAY_MS).kept, "before in the past after", "nothing is 30 days old yet");
  assertEquals(starts.run(2 * DAY_MS).kept, "", "and then it is");
});

Deno.test("Retention removes nothing for a clock that was ahead, for less than an hour or until the next start", () => {
  using starts = new Starts();
  starts.send("kept").start(TODAY + 40 * DAY_MS).run(SECOND_LOOK_MS - MINUTE_MS).send("meanwhile");
  assertEquals(starts.kept, "kept meanwhile");
  starts.start(TODAY + SECOND_LOOK_MS);
  starts.start(TODAY + 40 * DAY_MS).run(SECOND_LOOK_MS - MINUTE_MS);
  assertEquals(starts.kept, "kept meanwhile", "the right clock in between has undone the first look");
  starts.start(TODAY + 2 * SECOND_LOOK_MS).run(SECOND_LOOK_MS);
  assertEquals([starts.kept, starts.notices], ["kept meanwhile", []]);
  assertEquals(starts.run(31 * DAY_MS).kept, "", "its times were never noted: retention goes on as if it had not been");
});

Deno.test("Retention measures the hour by the monotonic clock while it runs, however often the clock steps", () => {
  using starts = new Starts();
  starts.send("kept").run(MINUTE_MS);
  for (let step = 0; step < 5; step++) starts.step(40 * DAY_MS);
  assertEquals(starts.kept, "kept");
  starts.step(-200 * DAY_MS).run(2 * SECOND_LOOK_MS);
  assertEquals(starts.kept, "kept");
});

Deno.test("Retention removes what a second look finds old, an hour later or at a later start, and says so where it is much", () => {
  using starts = new Starts();
  for (let day = 0; day < 5; day++) starts.send(String(day)).run(DAY_MS);
  starts.start(TODAY + 60 * DAY_MS);
  assertEquals(starts.kept, "0 1 2 3 4");
  starts.start(TODAY + 60 * DAY_MS + MINUTE_MS);
  assertEquals([starts.kept, starts.notices], ["0 1 2 3 4", []]);
  starts.start(TODAY + 60 * DAY_MS + SECOND_LOOK_MS);
  assertEquals([starts.kept, starts.notices.length], ["", 1]);
  assertMatch(starts.notices[0]!, /^Messages of [45] days, up to 2026-/);
});

Deno.test("Retention says nothing of what it removes day by day", () => {
  using starts = new Starts(2);
  for (let day = 0; day < 6; day++) starts.send(String(day)).run(DAY_MS);
  assertEquals([starts.kept, starts.notices], ["4 5", []]);
});

Deno.test("Retention looks twice where the days it keeps were made fewer", () => {
  using starts = new Starts(30);
  starts.send("old").run(2 * DAY_MS).start(TODAY + 2 * DAY_MS, 1);
  assertEquals(starts.kept, "old");
  assertEquals(starts.run(SECOND_LOOK_MS).kept, "");
});

Deno.test("Retention knows the age of what came before a long pause, and of what came after it", () => {
  using starts = new Starts();
  starts.send("before").run(MINUTE_MS).start(TODAY + 20 * DAY_MS).send("after");
  assertEquals(starts.run(9 * DAY_MS).kept, "before after");
  assertEquals(starts.run(3 * DAY_MS).kept, "after");
  assertEquals(starts.run(19 * DAY_MS).kept, "");
});

for (const count of [999, 1_000, 1_001, 2_000]) {
  Deno.test(`Retention leaves no empty conversation and no ended group of ${count} messages`, () => {
    using starts = new Starts();
    const { store } = starts;
    store.group({ op: "create", user: "ann", group: "#g", open: true });
    for (const recipient of ["ben", "#g"]) {
      store.append(
        Array.from({ length: count }, () => ({ sender: "ann", recipient, content: "hi", id: undefined, origin: "" })),
      );
    }
    store.group({ op: "leave", user: "ann", group: "#g" });
    starts.run(32 * DAY_MS);
    assertEquals(finish(store.conversations("ben", 10)).conversations, []);
    assertEquals(finish(store.conversations("ann", 10)).conversations, []);
    assert(finish(store.attach("ben", "laptop")).horizon >= count);
  });
}
