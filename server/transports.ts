/** Opens a transport by its name. */

import { listenWithDeno } from "./deno_transport.ts";
import type { Transport, TransportOptions } from "./transport.ts";
import type { TransportName } from "./transport_choice.ts";

/** Listens. Rejects with `Deno.errors.AddrInUse` and its like, and for a certificate that cannot be used. */
export async function listen(name: TransportName, options: TransportOptions): Promise<Transport> {
  if (name === "deno") return listenWithDeno(options);
  // Loaded where it is needed: it reads the environment, and does not load on every version of Deno.
  const { listenWithWs } = await import("./ws_transport.ts");
  return await listenWithWs(options);
}
