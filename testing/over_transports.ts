/** Tests that have to hold whatever carries the connections. */

import { type TransportName, TRANSPORTS, whyNoWs } from "../server/transport_choice.ts";
import { lacks } from "./permissions.ts";

/** A test that is told which transport it is over. */
export interface TransportTest {
  readonly name: string;
  readonly ignore: boolean;
  fn(transport: TransportName): void | Promise<void>;
}

/** True where `ws` cannot be loaded: on an old Deno, or without permission to read the environment. */
export const LACKS_WS = lacks("net", "env") || whyNoWs() !== undefined;

/** Registers a test once for each transport. */
export function testOverTransports({ name, ignore, fn }: TransportTest): void {
  for (const transport of TRANSPORTS) {
    Deno.test({
      name: `${name} (${transport})`,
      ignore: ignore || (transport === "ws" && LACKS_WS),
      fn: async () => await fn(transport),
    });
  }
}
