import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { startServer } from "../server.ts";
import { lacks } from "../testing/permissions.ts";
import { WsPeer } from "../testing/ws_peer.ts";
import { MetricsServer } from "./metrics.ts";

const ignore = lacks("net", "read", "sys");

Deno.test({
  name: "a server counts what it does at an address of its own, and nowhere else",
  ignore,
  async fn() {
    await using server = await startServer({ port: 0, metrics: { hostname: "127.0.0.1", port: 0 } });
    await using ann = await WsPeer.open(`${server.url}?name=ann`);
    ann.send({ sender: "ann", recipient: "ann", content: "hi", id: "1" });
    assertEquals((await ann.next()).type, "ack");
    const at = (path: string) => `http://127.0.0.1:${server.metricsPort}${path}`;
    const response = await fetch(at("/metrics"));
    assertMatch(response.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
    const page = await response.text();
    for (
      const line of [
        'parley_upgrades_total{result="ok"} 1',
        'parley_messages_stored_total{kind="direct"} 1',
        "parley_users_online 1",
      ]
    ) {
      assert(page.includes(line), `${line} is in\n${page}`);
    }
    assertMatch(page, /^process_resident_memory_bytes [1-9]/m);
    assertMatch(page, /^process_cpu_seconds_total [0-9.]*[1-9]/m);
    for (const [path, init, status] of [["/", {}, 404], ["/metrics", { method: "POST" }, 405]] as const) {
      const refused = await fetch(at(path), init);
      await refused.body?.cancel();
      assertEquals(refused.status, status);
    }
    const own = await fetch(`http://127.0.0.1:${server.port}/metrics`);
    await own.body?.cancel();
    assertEquals(own.status, 404);
  },
});

Deno.test({
  name: "metrics say at once that their address is taken, and leave nothing running",
  ignore,
  async fn() {
    const first = new MetricsServer({ hostname: "127.0.0.1", port: 0 });
    assertThrows(() => new MetricsServer({ hostname: "127.0.0.1", port: first.port }), Deno.errors.AddrInUse);
    await first.close();
  },
});
