import { assertEquals } from "@std/assert";
import { testBroker } from "./contract.ts";
import { MemoryBroker } from "./memory.ts";

testBroker("MemoryBroker", (limits) => {
  const broker = new MemoryBroker(limits);
  return Promise.resolve({
    broker,
    reopen: undefined,
    expire: () => Promise.resolve(void broker.expire()),
    [Symbol.asyncDispose]: () => broker.close(),
  });
});

Deno.test("MemoryBroker makes room by removing the oldest messages that were delivered, and refuses when there are none", async () => {
  const broker = new MemoryBroker({ messagesMax: 10 });
  for (const user of ["ann", "ben"]) await broker.attach(user, "laptop");
  const send = async (n: number) => {
    const [result] = await broker.append([{ sender: "ann", recipient: "ben", content: String(n), id: undefined, origin: "" }]);
    return "code" in result! ? result.code : result!.seq;
  };
  for (let n = 1; n <= 10; n++) await send(n);
  assertEquals(await send(11), "unavailable");
  await broker.mark([{ user: "ben", kind: "delivered", with: "ann", seq: 2 }]);
  assertEquals(await send(11), 11);
  assertEquals((await broker.read("ben", 0, 20)).messages.map(({ seq }) => seq), [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  assertEquals((await broker.attach("ben", "laptop")).horizon, 1);
});

Deno.test("MemoryBroker removes what is old by a clock that never steps, whatever the other one does", async () => {
  const DAY_MS = 86_400_000;
  let wall = 1_780_000_000_000, monotonic = 0;
  const broker = new MemoryBroker({ clocks: { now: () => wall, monotonic: () => monotonic } });
  await broker.attach("ann", "laptop");
  const send = (content: string) => broker.append([{ sender: "ann", recipient: "ann", content, id: undefined, origin: "" }]);
  const kept = async () => (await broker.read("ann", 0, 10)).messages.map(({ content }) => content);
  await send("one");
  for (const days of [40, -80, 365]) {
    wall += days * DAY_MS;
    monotonic += 2 * 3_600_000;
    await send("more");
  }
  broker.expire();
  assertEquals(await kept(), ["one", "more", "more", "more"]);
  monotonic += 31 * DAY_MS;
  await send("new");
  assertEquals(await kept(), ["new"]);
});
