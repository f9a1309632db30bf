import { MemoryBroker } from "../broker/memory.ts";
import { type Connection, Hub, type Receiver } from "../hub.ts";

const CONNECTIONS = 100;
const WINDOW = 16;
const CONTENT = "x".repeat(64);

/** Takes everything and keeps nothing. */
class NullConnection implements Connection {
  readonly buffered = 0;
  send(): boolean {
    return true;
  }
  close(): void {}
}

/** A hub whose turns end when the bench says so, with connections that are known. */
async function settle(extended: boolean): Promise<{ peers: Receiver[]; turn: () => Promise<void> }> {
  let due: (() => void) | undefined;
  const broker = new MemoryBroker({ mailbox: Infinity });
  const hub = new Hub({ broker, defer: (callback) => due = callback, helloGraceMs: 0 });
  const turn = async () => {
    while (due) {
      const now = due;
      due = undefined;
      now();
      await undefined;
      await undefined;
    }
  };
  const peers = Array.from({ length: CONNECTIONS }, (_, index) => {
    const peer = hub.connect(new NullConnection(), { user: `c${index}` });
    if (extended) peer.receive('{"type":"hello","v":1,"device":"bench","caps":["batch"]}');
    return peer;
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  await turn();
  return { peers, turn };
}

for (const [level, extended] of [["base", false], ["extended", true]] as const) {
  const { peers, turn } = await settle(extended);
  const frames = peers.map((_, index) =>
    `{"sender":"c${index}","recipient":"c${(index + 1) % CONNECTIONS}","content":"${CONTENT}"}`
  );
  const confirm = (seq: number) => `{"type":"ack","seq":${seq}}`;
  Deno.bench(`route ${CONNECTIONS} x ${WINDOW} messages, ${level}`, { group: "route", baseline: !extended }, async () => {
    for (let n = 0; n < WINDOW; n++) for (const [index, peer] of peers.entries()) peer.receive(frames[index]);
    await turn();
    if (extended) { for (const peer of peers) peer.receive(confirm(Number.MAX_SAFE_INTEGER)); }
    await turn();
  });
}
