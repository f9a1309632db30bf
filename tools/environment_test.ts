/** Each program knows the variables of the other, without importing it. */

import { assertEquals } from "@std/assert";
import { clientVariables, VARIABLES_OF_OTHERS as NOT_THE_CLIENTS } from "../client/environment.ts";
import { serverVariables, VARIABLES_OF_OTHERS as NOT_THE_SERVERS } from "../server/environment.ts";

Deno.test("a variable of one program is no slip to the other", () => {
  assertEquals(clientVariables().filter((name) => !NOT_THE_SERVERS.includes(name)), []);
  assertEquals(serverVariables().filter((name) => !NOT_THE_CLIENTS.includes(name)), []);
});
