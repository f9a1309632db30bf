import { assert, assertEquals } from "@std/assert";
import { setImmediate } from "node:timers";
import { MemoryBroker } from "../broker/memory.ts";
import { Hub } from "../hub.ts";
import { FakeConnection } from "../testing/fake_connection.ts";
import { lacks, lacksProgram } from "../testing/permissions.ts";
import { Metrics, type Sampled } from "./metrics.ts";

const NOTHING: Sampled = {
  base: 0,
  extended: 0,
  undecided: 0,
  behind: 0,
  queuedBytes: 0,
  users: 0,
  stalled: 0,
  residentBytes: 1,
  openFds: undefined,
  maxFds: undefined,
  cpuSeconds: undefined,
  databaseBytes: undefined,
  walBytes: undefined,
  freeBytes: undefined,
  certificateEnds: undefined,
};

function metricsOf(sample: () => Sampled = () => NOTHING): Metrics {
  return new Metrics({ version: "1.2.3", deno: "2.9.6", sample });
}

/** Returns the samples of a page: value by name and labels. */
function samplesOf(page: string): Map<string, number> {
  const lines = page.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => {
    const end = line.lastIndexOf(" ");
    return [line.slice(0, end), Number(line.slice(end + 1))];
  }));
}

async function settle(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise<void>((resolve) => setImmediate(() => resolve()));
}

Deno.test("Metrics counts what a hub does, in closed sets of labels", async () => {
  using metrics = metricsOf();
  const hub = new Hub({ broker: new MemoryBroker(), meter: metrics, defer: setImmediate });
  const [ann, ben] = ["ann", "ben"].map((user) => {
    const receiver = hub.connect(new FakeConnection(), { user });
    receiver.receive(`{"type":"hello","v":1,"device":"d"}`);
    return receiver;
  });
  await settle();
  ann!.receive('{"sender":"ann","recipient":"ben","content":"hi","id":"1"}');
  ann!.receive('{"sender":"ann","recipient":"ben","content":"hi","id":"1"}');
  ann!.receive('{"sender":"ann","recipient":"nobody","content":"hi"}');
  ann!.receive("nonsense");
  ann!.receive('{"type":"shout"}');
  ann!.receive('{"type":"ping"}');
  await settle();
  ben!.close("slow", "reads nothing");
  ann!.gone(true);
  const samples = samplesOf(await metrics.render());
  const seen = (name: string) => samples.get(name);
  assertEquals(seen('parley_frames_received_total{type="message"}'), 3);
  assertEquals(seen('parley_frames_received_total{type="hello"}'), 2);
  assertEquals(seen('parley_frames_received_total{type="invalid"}'), 2);
  assertEquals(seen('parley_messages_stored_total{kind="direct"}'), 1);
  assertEquals(seen('parley_messages_stored_total{kind="group"}'), 0);
  assertEquals(seen('parley_messages_delivered_total{kind="direct"}'), 1);
  assertEquals(seen('parley_errors_total{code="unknown_recipient"}'), 1);
  assertEquals(seen('parley_errors_total{code="bad_json"}'), 1);
  assertEquals(seen('parley_errors_total{code="internal"}'), 0, "what has not happened is shown too");
  assertEquals(seen('parley_closes_total{code="4100"}'), 1);
  assertEquals(seen('parley_resumes_total{recovered="false"}'), 2);
  assertEquals(seen("parley_append_batch_messages_count"), 1);
  assertEquals(seen("parley_append_batch_messages_sum"), 3);
  assert(seen("parley_delivery_lag_seconds_count")! > 0);
  assert(![...samples.keys()].some((name) => /ann|ben/.test(name)), "nothing is counted per user");
});

Deno.test("Metrics shows what is sampled, and leaves out what cannot be known", async () => {
  using metrics = metricsOf(() => ({ ...NOTHING, extended: 3, walBytes: 4_096, cpuSeconds: 1.5 }));
  metrics.upgraded(101);
  metrics.upgraded(503);
  const samples = samplesOf(await metrics.render());
  assertEquals(samples.get('parley_connections{level="extended"}'), 3);
  assertEquals(samples.get('parley_store_bytes{file="wal"}'), 4_096);
  assertEquals(samples.get("process_cpu_seconds_total"), 1.5);
  assertEquals(samples.get('parley_upgrades_total{result="ok"}'), 1);
  assertEquals(samples.get('parley_upgrades_total{result="503"}'), 1);
  assertEquals(samples.get('parley_build_info{version="1.2.3",deno="2.9.6"}'), 1);
  for (const name of ["process_open_fds", "parley_tls_certificate_expiry_timestamp_seconds", 'parley_store_bytes{file="db"}']) {
    assert(!samples.has(name), name);
  }
  assertEquals(samplesOf(await metrics.render()).get("process_cpu_seconds_total"), 1.5, "asked twice it is the same");
});

Deno.test("Metrics counts every result of a webhook from 0, so that the first of a kind is an increase", async () => {
  const webhooks = [{ endpoint: "push", events: 2, seconds: 3 }];
  const sample = () => ({ ...NOTHING, webhooks });
  using metrics = new Metrics({ version: "1.2.3", deno: "2.9.6", sample, webhookResults: ["delivered", "given_up"] });
  metrics.webhook("push", "delivered", 4);
  const samples = samplesOf(await metrics.render());
  assertEquals(samples.get('parley_webhook_events_total{endpoint="push",result="delivered"}'), 4);
  assertEquals(samples.get('parley_webhook_events_total{endpoint="push",result="given_up"}'), 0);
});

Deno.test({
  name: "Metrics renders a page that promtool finds nothing wrong with",
  ignore: lacks("run") || lacksProgram("promtool", ["--version"]),
  async fn() {
    using metrics = metricsOf(() => ({ ...NOTHING, openFds: 5, maxFds: 1_024, databaseBytes: 1, walBytes: 1, freeBytes: 1 }));
    const child = new Deno.Command("promtool", { args: ["check", "metrics"], stdin: "piped", stderr: "piped", stdout: "piped" })
      .spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(await metrics.render()));
    await writer.close();
    const { code, stderr, stdout } = await child.output();
    assertEquals([code, new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr)], [0, ""]);
  },
});
