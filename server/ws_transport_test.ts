import { assertEquals } from "@std/assert";
import { testTransport, type TransportHost } from "../hub/transport_contract.ts";
import { Admission, UNLIMITED } from "../limits/admission.ts";
import { Gate } from "./gate.ts";
import { Guests } from "./guest.ts";
import { httpHandler } from "./http.ts";
import { listenWithWs } from "./ws_transport.ts";

testTransport("ws -", async (host: TransportHost & { readonly hub?: { readonly frameBytes: number } }) => {
  const admission = new Admission(UNLIMITED, () => 0);
  const guests = new Guests(host);
  const transport = await listenWithWs({
    hostname: "127.0.0.1",
    port: 0,
    certificate: undefined,
    gate: new Gate({ admission, hostname: "127.0.0.1" }),
    guests,
    frameBytes: host.hub?.frameBytes ?? 65_536,
    handlerOf: (upgrade) =>
      httpHandler({ scheme: "ws", trustedHops: 0, isDraining: () => false, unreadiness: () => undefined, upgrade }),
    log: () => {},
  });
  return {
    port: transport.port,
    async [Symbol.asyncDispose]() {
      await guests.empty();
      await transport.close();
      assertEquals(admission.counts, { connections: 0, stalled: 0, users: 0, addresses: 0 }, "slots are free again");
    },
  };
});
