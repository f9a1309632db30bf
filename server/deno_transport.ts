/** Deno's own sockets as a transport: `Deno.serve` and `Deno.upgradeWebSocket`, with TLS in front. */

import { reasonOf } from "../ops/log.ts";
import type { Gate } from "./gate.ts";
import type { Guests } from "./guest.ts";
import { plain } from "./http.ts";
import { Listener } from "./listener.ts";
import { SocketConnection } from "./sockets.ts";
import { TlsTerminator } from "./tls_terminator.ts";
import type { Transport, TransportOptions } from "./transport.ts";

/** Seconds. Deno pings a socket that was silent for half of this, and closes it if no pong comes within the other half. */
const IDLE_TIMEOUT_S = 60;

/** Listens. Throws what `Deno.serve` throws, such as `Deno.errors.AddrInUse`, and for a certificate that cannot be used. */
export function listenWithDeno(options: TransportOptions): Transport {
  const { hostname, port, certificate, gate, guests, handlerOf, log } = options;
  const handle = handlerOf((request, address) => upgrade(request, address, gate, guests));
  let terminator: TlsTerminator | undefined;
  const listener = new Listener({
    port: certificate ? 0 : port,
    log,
    listen: (port) =>
      Deno.serve({
        hostname: certificate ? "127.0.0.1" : hostname,
        port,
        onListen() {},
        onError(error) {
          log("request_failed", { reason: reasonOf(error) });
          return plain(500, "The server failed at this request");
        },
      }, (request, { remoteAddr }) => {
        return handle(request, terminator ? terminator.peerOf(remoteAddr.port) : remoteAddr.hostname);
      }),
  });
  try {
    if (certificate) terminator = new TlsTerminator({ ...certificate, hostname, port, target: listener.port });
  } catch (error) {
    void listener.shutdown();
    throw error;
  }
  return {
    port: terminator?.port ?? listener.port,
    renew: async (renewed) => await terminator?.renew(renewed),
    stop: () => terminator?.stop(),
    async close() {
      terminator?.close();
      // The listener says 1001 to every socket that it still has.
      await listener.shutdown();
    },
  };
}

/** Upgrades a request if the gate admits it; from then on the socket feeds the hub. */
async function upgrade(request: Request, address: string, gate: Gate, guests: Guests): Promise<Response> {
  const admitted = await gate.enter(request, address);
  if (admitted instanceof Response) return admitted;
  const { protocol, slot } = admitted;
  try {
    const { socket, response } = Deno.upgradeWebSocket(request, {
      idleTimeout: IDLE_TIMEOUT_S,
      ...protocol ? { protocol } : {},
    });
    new SocketConnection(socket, guests, admitted);
    return response;
  } catch {
    slot.release();
    return plain(400, "This request cannot be upgraded to a WebSocket");
  }
}
