import { MemoryBroker } from "../broker/memory.ts";
import { openSqliteBroker } from "../broker/sqlite.ts";
import type { Broker, Draft } from "../broker.ts";

const PAIRS = 100;
const BATCH = 1_600;
const CONTENT = "x".repeat(64);

let next = 0;
function drafts(count: number): Draft[] {
  return Array.from({ length: count }, () => {
    const pair = next++ % PAIRS;
    return { sender: `a${pair}`, recipient: `b${pair}`, content: CONTENT, id: `id-${next}`, origin: "bench" };
  });
}

/** Appends, and has the receivers confirm everything, so that the mailboxes stay empty. */
async function append(broker: Broker, count: number): Promise<void> {
  const results = await broker.append(drafts(count));
  const last = results.at(-1)!;
  if ("code" in last) throw new Error(last.message);
  const marks = Array.from({ length: Math.min(count, PAIRS) }, (_, pair) => {
    return { user: `b${pair}`, kind: "delivered", with: `a${pair}`, seq: last.seq } as const;
  });
  await broker.mark(marks);
}

async function prepared(broker: Broker): Promise<Broker> {
  for (let pair = 0; pair < PAIRS; pair++) for (const side of ["a", "b"]) await broker.attach(`${side}${pair}`, "bench");
  return broker;
}

const memory = await prepared(new MemoryBroker());
Deno.bench(`append ${BATCH} in memory`, { group: "append many", baseline: true }, async () => await append(memory, BATCH));
Deno.bench("append one in memory", { group: "append one", baseline: true }, async () => await append(memory, 1));

// SQLite writes to a temporary directory, which `deno task bench` lets it do.
const dir = Deno.makeTempDirSync({ prefix: "parley-bench-" });
const sqlite = await prepared(await openSqliteBroker({ dir, mailbox: Infinity }));
Deno.bench(`append ${BATCH} durably`, { group: "append many" }, async () => await append(sqlite, BATCH));
Deno.bench("append one durably", { group: "append one" }, async () => await append(sqlite, 1));
globalThis.addEventListener("unload", () => Deno.removeSync(dir, { recursive: true }));
