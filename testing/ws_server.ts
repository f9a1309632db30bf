/**
 * A server on the `ws` transport alone in its process, for attacks on it: `ws_server.ts DEADLINE_MS [CERT KEY]`. DEADLINE_MS is
 * the time for heads, handshakes and closes, shorter than it is for people, so that tests need not wait. It prints its address, and
 * at SIGUSR2 what it holds as a line of JSON: counts, bytes in memory after the garbage is collected where that can be asked
 * for, and file descriptors.
 */

import { Hub } from "../hub.ts";
import { MemoryBroker } from "../broker/memory.ts";
import { Admission, UNLIMITED } from "../limits/admission.ts";
import { Gate } from "../server/gate.ts";
import { Guests } from "../server/guest.ts";
import { httpHandler } from "../server/http.ts";
import { listenWithWs } from "../server/ws_transport.ts";

const [deadlineMs, cert, key] = Deno.args as [string, string | undefined, string | undefined];
const hub = new Hub({ broker: new MemoryBroker(), helloGraceMs: 0 });
const admission = new Admission({ ...UNLIMITED, stalled: Infinity, stalledPerUser: Infinity }, () => 0);
const transport = await listenWithWs({
  hostname: "127.0.0.1",
  port: 0,
  certificate: cert && key ? { cert: Deno.readTextFileSync(cert), key: Deno.readTextFileSync(key) } : undefined,
  gate: new Gate({ admission, hostname: "127.0.0.1" }),
  guests: new Guests(hub),
  frameBytes: hub.frameBytes,
  handlerOf: (upgrade) =>
    httpHandler({
      scheme: "ws",
      trustedHops: 0,
      isDraining: () => false,
      unreadiness: () => undefined,
      unstored: () => undefined,
      upgrade,
    }),
  log: (event, fields) => console.error(event, JSON.stringify(fields)),
}, { headMs: Number(deadlineMs), closeMs: Number(deadlineMs) });

const { gc } = globalThis as { gc?: () => void };
Deno.addSignalListener("SIGUSR2", () => {
  gc?.();
  const descriptors = [...Deno.readDirSync("/proc/self/fd")].length;
  console.log(JSON.stringify({ ...hub.counts, ...admission.counts, rss: Deno.memoryUsage().rss, descriptors }));
});
console.log(`ws://127.0.0.1:${transport.port}/ws`);
