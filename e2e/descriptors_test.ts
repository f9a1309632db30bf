/** A server that has run out of file descriptors: nobody new comes in, nobody is thrown out, and it passes. */

import { assertEquals } from "@std/assert";
import { certificate, filesIn } from "../testing/certificate.ts";
import { testOverTransports } from "../testing/over_transports.ts";
import { CAN_RUN, lacksProgram } from "../testing/permissions.ts";
import { fromSource, RunningServer } from "../testing/process.ts";

/** Milliseconds after which a server that takes nobody will not do so any more. */
const PATIENCE_MS = 30_000;
/** Descriptors of the server: some of its own, the rest for connections. */
const DESCRIPTORS = 80;

for (const isSecure of [false, true]) {
  testOverTransports({
    name: `descriptors - when they run out, ${
      isSecure ? "with" : "without"
    } TLS, open connections go on and new ones come in later`,
    ignore: !CAN_RUN || lacksProgram("sh", ["-c", `ulimit -n ${DESCRIPTORS}`]) || lacksProgram("openssl", ["version"]),
    async fn(transport) {
      const dir = await Deno.makeTempDir({ prefix: "descriptors-" });
      if (isSecure) await certificate(dir);
      const { ca, cert, key } = filesIn(dir);
      const tls = isSecure ? ["--cert", cert, "--key", key] : [];
      const { command, args } = fromSource("server");
      const limited = { command: "sh", args: ["-c", `ulimit -n ${DESCRIPTORS}; exec "$0" "$@"`, command, ...args] };
      await using server = await RunningServer.start(limited, ["--transport", transport, "--broker", "memory", ...tls]);
      using client = Deno.createHttpClient({ caCerts: isSecure ? [await Deno.readTextFile(ca)] : [] });
      // deno-lint-ignore no-explicit-any -- Deno's own option
      const socket = new WebSocket(`${server.url}?name=alice`, { client } as any);
      await new Promise((resolve) => socket.onopen = resolve);
      using idle = await Idle.open(Number(new URL(server.url).port), 2 * DESCRIPTORS);
      await echo(socket, "while they are short");
      idle.closeMost();
      const health = server.url.replace("ws", "http").replace("/ws", "/healthz");
      let status = 0;
      for (const end = Date.now() + PATIENCE_MS; status === 0 && Date.now() < end;) {
        const signal = AbortSignal.timeout(1_000);
        const answer = await fetch(health, { client, signal }).catch(() => undefined);
        await answer?.body?.cancel();
        status = answer?.status ?? 0;
      }
      assertEquals(status, 200);
      await echo(socket, "afterwards");
      await new Promise((resolve) => {
        socket.onclose = resolve;
        socket.close();
      });
      await Deno.remove(dir, { recursive: true });
    },
  });
}

/** Connections that say nothing, as many as are taken. */
class Idle implements Disposable {
  private constructor(readonly connections: Deno.Conn[]) {}

  static async open(port: number, count: number): Promise<Idle> {
    const connections: Deno.Conn[] = [];
    while (connections.length < count) {
      const connection = await Deno.connect({ hostname: "127.0.0.1", port }).catch(() => undefined);
      if (!connection) break;
      connections.push(connection);
    }
    return new Idle(connections);
  }

  /** Closes all but one: that it stays must not keep the others out. */
  closeMost(): void {
    for (const connection of this.connections.splice(1)) connection.close();
  }

  [Symbol.dispose](): void {
    for (const connection of this.connections) connection.close();
  }
}

/** Writes to oneself, and waits for the ack. */
async function echo(socket: WebSocket, id: string): Promise<void> {
  const acked = new Promise<void>((resolve) => {
    socket.onmessage = ({ data }) => {
      if (JSON.parse(data).id === id) resolve();
    };
  });
  socket.send(JSON.stringify({ sender: "alice", recipient: "alice", content: "x", id }));
  await acked;
}
