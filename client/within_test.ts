import { assertEquals, assertRejects } from "@std/assert";
import { within } from "./within.ts";

Deno.test("within settles as the promise does, or resolves to undefined when the time is over", async () => {
  assertEquals(await within(Promise.resolve("in time"), 60_000), "in time");
  await assertRejects(() => within(Promise.reject(new RangeError("failed")), 60_000), RangeError, "failed");
  await assertRejects(() => within(Promise.reject(new DOMException("", "AbortError")), 60_000), DOMException);
  assertEquals(await within(new Promise(() => {}), 0), undefined);
});
