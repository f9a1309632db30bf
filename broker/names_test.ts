import { assertEquals } from "@std/assert";
import { isGroup as isGroupOnTheWire, parseName } from "../protocol.ts";
import { BASE_DEVICE, isBaseDevice, isGroup } from "./names.ts";

Deno.test("isGroup says the same as the wire", () => {
  const names = ["#g", "#", "ann", "", "a#b", "~", "ö"];
  assertEquals(names.map(isGroup), names.map(isGroupOnTheWire));
  assertEquals(names.filter(isGroup), ["#g", "#"]);
});

Deno.test("isBaseDevice is true for what no client can choose as a name", () => {
  const names = [BASE_DEVICE, `${BASE_DEVICE}7`, "laptop", "", "a~"];
  assertEquals(names.filter(isBaseDevice), [BASE_DEVICE, `${BASE_DEVICE}7`]);
  for (const name of names.filter(isBaseDevice)) assertEquals(typeof parseName(name), "object", name);
});
