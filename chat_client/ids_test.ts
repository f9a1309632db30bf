import { assert, assertEquals, assertMatch } from "@std/assert";
import { newId } from "./ids.ts";

Deno.test("an id is a UUIDv7 in 32 hexadecimal digits: it begins with the time, and the rest is random", () => {
  const at = 0x017f22e279b0; // the example of RFC 9562
  const [one, two] = [newId(at), newId(at)];
  assertMatch(one, /^017f22e279b07[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
  assertEquals(one.slice(0, 13), two.slice(0, 13));
  assert(one !== two);
  assert(newId(at) < newId(at + 1), "later ones are greater");
  assertEquals(parseInt(newId(8_640_000_000_000).slice(0, 12), 16), 8_640_000_000_000);
});
