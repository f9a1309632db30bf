import { assertEquals } from "@std/assert";
import { deviceToForget, type KeptDevice } from "./device_rules.ts";
import { BASE_DEVICE } from "./names.ts";

function device(name: string, position: number, attached: number, temporary = false): KeptDevice {
  return { name, position, attached, temporary };
}

/** The name of the device that goes, where mail waits for all that are behind position 9. */
function forgotten(...devices: KeptDevice[]): string | undefined {
  return deviceToForget(devices, ({ position }) => position < 9)?.name;
}

Deno.test("deviceToForget takes a made-up device first, whatever waits for it, least recently attached first", () => {
  assertEquals(forgotten(device("phone", 9, 1), device("d-2", 1, 7, true), device("d-1", 9, 5, true)), "d-1");
});

Deno.test("deviceToForget takes one with mail waiting only where all have", () => {
  assertEquals(forgotten(device("phone", 2, 1), device("b", 9, 6), device("a", 9, 5)), "a");
  assertEquals(forgotten(device("phone", 2, 1), device("tablet", 1, 6), device("laptop", 3, 0)), "tablet");
});

Deno.test("deviceToForget never takes the device of base connections", () => {
  assertEquals([forgotten(device(BASE_DEVICE, 0, 0)), forgotten(device(BASE_DEVICE, 9, 0), device("phone", 2, 5))], [
    undefined,
    "phone",
  ]);
});
