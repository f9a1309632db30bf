import { assertEquals } from "@std/assert";
import { CAN_RUN } from "../testing/permissions.ts";
import type { Command, Opened, Report } from "./agent.ts";
import { type Faults, noFaults } from "./checker.ts";
import { MeasuredProcess } from "./measured_process.ts";

type Frame = Record<string, unknown>;

/** A server of one connection, alice's, who writes to herself. What a message is answered with is up to the test. */
class Relay implements AsyncDisposable {
  readonly #http: Deno.HttpServer<Deno.NetAddr>;

  constructor(welcome: Frame[], answers: (message: Frame, seq: number) => Frame[]) {
    this.#http = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
      const { socket, response } = Deno.upgradeWebSocket(request);
      let seq = 0;
      socket.onmessage = ({ data }) => {
        for (const line of String(data).split("\n")) {
          const frame = JSON.parse(line);
          const sent = frame.type === "hello" ? [...welcome] : frame.type === undefined ? answers(frame, ++seq) : [];
          if (seq === MESSAGES) sent.push(END);
          if (sent.length > 0) socket.send(sent.map((frame) => JSON.stringify(frame)).join("\n"));
        }
      };
      return response;
    });
  }

  get port(): number {
    return this.#http.addr.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#http.shutdown();
  }
}

/** Messages that are sent; after the last one comes a refusal, so that the end is seen. */
const MESSAGES = 5, END = { type: "error", code: "end", message: "That was all" };
const TS = "2026-11-01T10:00:00.000Z";
const WELCOME = { type: "welcome", epoch: "e", seq: 0, recovered: true }, SYNCED = { type: "synced", seq: 0 };
const ack = ({ id }: Frame, seq: number) => ({ type: "ack", id, seq, ts: TS });
const copy = (message: Frame, seq: number) => ({ ...message, seq, ts: TS });

/** Returns what an agent finds wrong with a server after some messages with ids; it resumes where `missed` came since. */
async function faultsOf(answers: (message: Frame, seq: number) => Frame[], welcome: Frame[] = [WELCOME, SYNCED], missed = 0) {
  await using relay = new Relay(welcome, answers);
  const agent = new MeasuredProcess(["run", "--no-prompt", "--allow-net", `${import.meta.dirname}/agent.ts`], undefined);
  const ask = <T>(command: Command) => agent.ask<T>(command);
  try {
    const resume = { epoch: "e", seq: 0, missed };
    await ask<Opened>({ op: "open", port: relay.port, names: ["alice"], level: "extended", resume });
    const flows = [{ from: "alice", to: "alice" }];
    const window = { size: MESSAGES, endedBy: "ack", count: MESSAGES } as const;
    await ask({ op: "send", flows, chars: 64, ids: true, startUs: 0, untilUs: 1e18, window });
    for (;;) {
      const { complaint, faults } = await ask<Report>({ op: "report" });
      if (complaint !== "") return faults;
    }
  } finally {
    await agent.stop();
  }
}

const CASES: [string, Parameters<typeof faultsOf>, Partial<Faults>][] = [
  ["nothing", [(message, seq) => [ack(message, seq), copy(message, seq)]], {}],
  ["an ack that is missing", [(message, seq) => seq === 3 ? [copy(message, seq)] : [ack(message, seq), copy(message, seq)]], {
    unacked: 1,
  }],
  ["acks at one position", [(message, seq) => [ack(message, 1), copy(message, seq)]], { misacked: 4 }],
  ["another id", [(message, seq) => [ack(message, seq), copy({ ...message, id: "x" }, seq)]], { altered: 5 }],
  ["what was said to somebody else", [(message, seq) => [ack(message, seq), copy({ ...message, sender: "bob" }, seq)]], {
    altered: 5,
  }],
  ["a device that does not go on where it was", [
    (message, seq) => [ack(message, seq), copy(message, seq)],
    [{ ...WELCOME, recovered: false }, SYNCED],
  ], { unready: 1 }],
  ["synced before what was missed", [(message, seq) => [ack(message, seq), copy(message, seq)], [WELCOME, SYNCED], 1], {
    unready: 1,
  }],
];

for (const [what, args, faults] of CASES) {
  Deno.test({
    name: `an agent of the benchmark finds ${what} wrong`,
    ignore: !CAN_RUN,
    fn: async () => assertEquals(await faultsOf(...args), { ...noFaults(), refused: 1, ...faults }),
  });
}
