import { assertEquals } from "@std/assert";
import { testTransport } from "../hub/transport_contract.ts";
import { Admission, UNLIMITED } from "../limits/admission.ts";
import { Gate } from "./gate.ts";
import { Guests } from "./guest.ts";
import { SocketConnection } from "./sockets.ts";

testTransport("Deno's sockets -", (host) => {
  const admission = new Admission(UNLIMITED, () => 0);
  const gate = new Gate({ admission, hostname: "127.0.0.1" });
  const guests = new Guests(host);
  const http = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request, { remoteAddr }) => {
    const admitted = await gate.enter(request, remoteAddr.hostname);
    if (admitted instanceof Response) return admitted;
    const { socket, response } = Deno.upgradeWebSocket(request);
    new SocketConnection(socket, guests, admitted);
    return response;
  });
  return {
    port: http.addr.port,
    async [Symbol.asyncDispose]() {
      await guests.empty();
      await http.shutdown();
      assertEquals(admission.counts, { connections: 0, stalled: 0, users: 0, addresses: 0 }, "slots are free again");
    },
  };
});
