import { assertEquals, assertMatch } from "@std/assert";
import type { Message } from "../../protocol.ts";
import { OutboxList } from "./outbox_list.ts";

function waiting(...texts: string[]) {
  const outbox: Message[] = texts.map((content, index) => ({ sender: "a", recipient: "bob", content, id: `${index}` }));
  const drop = (id: string) => {
    const index = outbox.findIndex((message) => message.id === id);
    if (index < 0) return undefined;
    outbox.splice(index, 1);
    return { mayHaveArrived: id === "0" };
  };
  return { outbox, drop };
}

Deno.test("OutboxList lists what waits by number, one harmless line each", () => {
  const lines = new OutboxList(waiting("one\n\x1b[2J", "x".repeat(500))).lines(40);
  assertEquals([lines[0], lines[1]!.length], ["   1  bob: one\\n^[[2J", 39]);
  assertEquals(new OutboxList(waiting()).lines(40), ["Nothing waits to be sent"]);
  assertMatch(new OutboxList(waiting(...Array(60).fill("x"))).lines(40).join("\n"), /and 10 more/);
});

Deno.test("OutboxList drops what had a number in the list, also where others were sent meanwhile, and says the text", () => {
  const client = waiting("one", "two", "three");
  const list = new OutboxList(client);
  assertMatch(list.drop("1")[0]!, /needs a number/);
  list.lines(80);
  client.drop("1");
  assertEquals(list.drop("2"), ["Message 2 was sent meanwhile"]);
  assertEquals(list.drop("3"), ["Dropped, to bob; it was not sent:", "three"]);
  assertEquals(list.drop("all"), ["Dropped, to bob; it was on its way and may have arrived:", "one"]);
  assertEquals([client.outbox, list.drop("all")], [[], ["Nothing waits to be sent"]]);
});
