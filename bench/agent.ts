/**
 * A process of clients: carries out the commands that come as lines of JSON on stdin, answers each with a line on stdout.
 *
 * It checks everything that its clients receive, whoever sent it. Times are microseconds since 1970, so that several processes
 * mean the same by them.
 */

import { setImmediate } from "node:timers";
import { Checker, type Counts, type Faults, makeContent, makeId } from "./checker.ts";
import { Histogram, type HistogramData } from "./histogram.ts";
import { RawSocket } from "./raw_socket.ts";

/** Connects clients, and answers when all are ready: for the extended level when `synced` came. */
export interface OpenCommand {
  readonly op: "open";
  readonly port: number;
  readonly names: readonly string[];
  readonly level: "base" | "extended";
  /** Resume from here, where `missed` messages came since; without it the clients are new devices. */
  readonly resume?: { readonly epoch: string; readonly seq: number; readonly missed: number };
  /** Time at which everybody wants to be connected, from which the time to `synced` counts. Default: now. */
  readonly dueUs?: number;
}

/** Sends along flows until a time or a count; answers at once. */
export interface SendCommand {
  readonly op: "send";
  /** Several in `to`: each message goes to one of them at random, and there is one flow per sender. */
  readonly flows: readonly { readonly from: string; readonly to: string | readonly string[] }[];
  readonly chars: number;
  /** Gives every message an id, so that it is acked. */
  readonly ids: boolean;
  readonly startUs: number;
  readonly untilUs: number;
  /**
   * Closed loop: messages in flight per flow, and what ends a flight. The receiver must be of this process for `delivery` and
   * `both`; with several in `to` it is `ack` or `both`.
   */
  readonly window?: { readonly size: number; readonly endedBy: "delivery" | "ack" | "both"; readonly count?: number };
  /** Open loop: messages per second of all flows together, evenly spaced. */
  readonly perSecond?: number;
  /** Open loop: to be exact, keep the processor busy shortly before a message is due. For a process that has one to itself. */
  readonly spins?: boolean;
}

/** Requests of the runner. */
export type Command =
  | OpenCommand
  | SendCommand
  /** Makes a group with the first name, unless it exists, and joins it with all. */
  | { readonly op: "group"; readonly group: string; readonly names: readonly string[]; readonly create: boolean }
  /** Counts what arrives between two times; answers at once. */
  | { readonly op: "measure"; readonly fromUs: number; readonly untilUs: number }
  | { readonly op: "report" }
  /** Cuts connections without a word. */
  | { readonly op: "drop"; readonly names: readonly string[] };

/** The answer to `open`. */
export interface Opened {
  /** From `dueUs` to ready. */
  readonly ready: HistogramData;
  readonly epoch: string;
  /** Position of the newest message when the last of them was welcomed. */
  readonly seq: number;
}

/** The answer to `report`: everything since the start, and what was measured. */
export interface Report {
  readonly sent: Counts;
  readonly received: Counts;
  readonly faults: Faults;
  /** First words of the server when it refused something. */
  readonly complaint: string;
  readonly delivered: number;
  readonly acked: number;
  /** From due to delivered. */
  readonly latency: HistogramData;
  /** From due to acked. */
  readonly ackLatency: HistogramData;
  /** From due to sent: how late this process was. */
  readonly lateness: HistogramData;
}

/** Connections being opened at a time: below the listener's backlog. */
const OPENING_MAX = 64;
/** Messages, and milliseconds, after which a client confirms what it has: as Parley's own does. */
const CONFIRM_EVERY = 32, CONFIRM_MS = 250;
/** Milliseconds after which a base connection is settled: four times the server's grace. */
const BASE_SETTLED_MS = 1_000;
/** Microseconds before a message is due at which sleeping, which is coarse, becomes spinning. */
const SPIN_US = 3_000;

/** Microseconds since 1970, the same in every process of this machine. */
export function nowUs(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1_000);
}

interface Frame {
  type?: string;
  sender: string;
  recipient: string;
  content: string;
  id?: string;
  seq?: number;
  code?: string;
  message?: string;
  epoch?: string;
  recovered?: boolean;
  ts?: string;
}

interface Flow {
  readonly from: string;
  readonly to: string | readonly string[];
  inFlight: number;
  left: number;
}

class Client {
  /** The highest position received and the one confirmed. */
  seq = 0;
  confirmed = 0;
  received = 0;
  /** Messages received and not confirmed. */
  untold = 0;
  /** The position of the last ack. */
  acked = 0;
  /** Messages that it missed where it was connected before, until it is ready. */
  resumes: { readonly missed: number } | undefined;
  ready: ((frame: Frame) => void) | undefined;
  grouped: (() => void) | undefined;

  constructor(readonly name: string, readonly socket: RawSocket, readonly extended: boolean) {}
}

class Agent {
  readonly #clients = new Map<string, Client>();
  readonly #checker = new Checker();
  readonly #sent = new Map<string, number>();
  /** Messages of this process on their way, by sender and recipient; by sender alone where there are several recipients. */
  readonly #flows = new Map<string, Flow>();
  /** Due times of messages that wait for an ack, and their flow. */
  readonly #unacked = new Map<string, { dueUs: number; flow: Flow }>();
  /** Ids of messages that are either acked or delivered, where a flight ends by both. */
  readonly #halfway = new Set<string>();
  #send: SendCommand | undefined;
  #dirty = new Set<Flow>();
  #fromUs = Infinity;
  #untilUs = 0;
  #delivered = 0;
  #acked = 0;
  #latency = new Histogram();
  #ackLatency = new Histogram();
  #lateness = new Histogram();
  #complaint = "";
  #epoch = "";
  #head = 0;

  /** Carries out one command. */
  async run(command: Command): Promise<unknown> {
    switch (command.op) {
      case "open":
        return await this.#open(command);
      case "send":
        return this.#start(command);
      case "group":
        return await this.#group(command.group, command.names, command.create);
      case "measure":
        this.#fromUs = command.fromUs;
        this.#untilUs = command.untilUs;
        this.#delivered = this.#acked = 0;
        [this.#latency, this.#ackLatency, this.#lateness] = [new Histogram(), new Histogram(), new Histogram()];
        return {};
      case "report":
        return this.#report();
      case "drop":
        for (const name of command.names) {
          const client = this.#clients.get(name);
          this.#clients.delete(name);
          client?.socket.drop();
        }
        return {};
    }
  }

  /** Confirms what was received, as real clients do. */
  confirm(): void {
    for (const client of this.#clients.values()) if (client.seq !== client.confirmed) this.#confirm(client);
  }

  #confirm(client: Client): void {
    client.confirmed = client.seq;
    client.untold = 0;
    client.socket.send(`{"type":"ack","seq":${client.seq}}`);
  }

  #report(): Report {
    return {
      sent: Object.fromEntries(this.#sent),
      received: this.#checker.counts,
      faults: { ...this.#checker.faults, unacked: this.#unacked.size },
      complaint: this.#complaint,
      delivered: this.#delivered,
      acked: this.#acked,
      latency: this.#latency.toData(),
      ackLatency: this.#ackLatency.toData(),
      lateness: this.#lateness.toData(),
    };
  }

  // ---- Connections ----

  async #open(command: OpenCommand): Promise<Opened> {
    const ready = new Histogram();
    const dueUs = command.dueUs ?? nowUs();
    while (nowUs() < dueUs) await new Promise((resolve) => setTimeout(resolve, 1));
    const names = [...command.names];
    const open = async () => {
      for (let name = names.pop(); name !== undefined; name = names.pop()) {
        await this.#openOne(name, command);
        ready.add(nowUs() - dueUs);
      }
    };
    await Promise.all(Array.from({ length: OPENING_MAX }, open));
    if (command.level === "base") await new Promise((resolve) => setTimeout(resolve, BASE_SETTLED_MS));
    return { ready: ready.toData(), epoch: this.#epoch, seq: this.#head };
  }

  async #openOne(name: string, { port, level, resume }: OpenCommand): Promise<void> {
    const socket = await RawSocket.connect("127.0.0.1", port, level === "base" ? `/ws?name=${name}` : "/ws");
    const client = new Client(name, socket, level === "extended");
    client.resumes = resume;
    socket.onText = (text) => this.#text(client, text);
    socket.onClose = (code) => {
      if (this.#clients.get(name) === client) this.#complain(`the connection of ${name} was closed with ${code}`);
      client.ready?.({ type: "closed", sender: "", recipient: "", content: "" });
    };
    this.#clients.set(name, client);
    if (!client.extended) return;
    const from = resume ? { resume: { epoch: resume.epoch, seq: resume.seq } } : {};
    const synced = new Promise<Frame>((resolve) => client.ready = resolve);
    socket.send(JSON.stringify({ type: "hello", v: 1, name, device: "bench", caps: ["batch"], ...from }));
    await synced;
  }

  async #group(group: string, names: readonly string[], create: boolean): Promise<unknown> {
    for (const [index, name] of names.entries()) {
      const client = this.#clients.get(name)!;
      const answered = new Promise<void>((resolve) => client.grouped = resolve);
      client.socket.send(JSON.stringify({ type: "group", op: create && index === 0 ? "create" : "join", group, id: "g" }));
      await answered;
    }
    return {};
  }

  // ---- What arrives ----

  #text(client: Client, text: string): void {
    const arrivedUs = nowUs();
    if (text.indexOf("\n") < 0) return this.#frame(client, JSON.parse(text), arrivedUs);
    for (const line of text.split("\n")) this.#frame(client, JSON.parse(line), arrivedUs);
  }

  #frame(client: Client, frame: Frame, arrivedUs: number): void {
    if (frame.type === undefined) return this.#message(client, frame, arrivedUs);
    if (frame.type === "ack") return this.#ack(client, frame, arrivedUs);
    if (frame.type === "welcome") {
      this.#epoch = frame.epoch!;
      this.#head = Math.max(this.#head, frame.seq!);
      if (client.resumes && frame.recovered !== true) this.#checker.faults.unready++;
    } else if (frame.type === "synced") {
      // Ready is who has everything: what comes after this was not missed.
      if (client.resumes && client.received < client.resumes.missed) this.#checker.faults.unready++;
      client.ready?.(frame);
    } else if (frame.type === "group" && frame.id === "g") {
      client.grouped?.();
    } else if (frame.type === "error") {
      this.#complain(`${frame.code}: ${frame.message}`);
      client.grouped?.();
    }
  }

  #complain(what: string): void {
    this.#checker.faults.refused++;
    this.#complaint ||= what;
  }

  #message(client: Client, frame: Frame, arrivedUs: number): void {
    const dueUs = this.#checker.received(client.name, frame, this.#send?.ids);
    client.received++;
    if (client.extended && frame.seq !== undefined) {
      client.seq = frame.seq;
      if (++client.untold >= CONFIRM_EVERY) this.#confirm(client);
    }
    if (dueUs === undefined) return;
    if (this.#isMeasured(arrivedUs)) this.#delivered++;
    // By when it was due: what comes long after the time that is measured is what must not be left out.
    if (this.#isMeasured(dueUs)) this.#latency.add(arrivedUs - dueUs);
    if (this.#send?.window?.endedBy === "delivery") this.#land(this.#flows.get(`${frame.sender}>${frame.recipient}`));
    if (this.#send?.window?.endedBy === "both") this.#meet(frame.id!, this.#flows.get(frame.sender));
  }

  #isMeasured(timeUs: number): boolean {
    return timeUs >= this.#fromUs && timeUs < this.#untilUs;
  }

  #ack(client: Client, { id, seq = 0 }: Frame, arrivedUs: number): void {
    const flight = this.#unacked.get(id!);
    if (!flight || seq <= client.acked) this.#checker.faults.misacked++;
    client.acked = seq;
    if (!flight) return;
    this.#unacked.delete(id!);
    if (this.#isMeasured(arrivedUs)) this.#acked++;
    if (this.#isMeasured(flight.dueUs)) this.#ackLatency.add(arrivedUs - flight.dueUs);
    if (this.#send?.window?.endedBy === "ack") this.#land(flight.flow);
    if (this.#send?.window?.endedBy === "both") this.#meet(id!, flight.flow);
  }

  /** One half of a flight has ended: the ack or the delivery. */
  #meet(id: string, flow: Flow | undefined): void {
    if (this.#halfway.delete(id)) this.#land(flow);
    else this.#halfway.add(id);
  }

  // ---- What is sent ----

  #start(command: SendCommand): unknown {
    this.#send = command;
    this.#flows.clear();
    const count = command.window?.count ?? Infinity;
    for (const { from, to } of command.flows) {
      this.#flows.set(typeof to === "string" ? `${from}>${to}` : from, { from, to, inFlight: 0, left: count });
    }
    const begin = () => command.perSecond === undefined ? this.#fillAll(command) : this.#pace(command, command.perSecond);
    const waitUs = command.startUs - nowUs();
    if (waitUs > 0) setTimeout(begin, waitUs / 1_000);
    else begin();
    return {};
  }

  #fillAll(command: SendCommand): void {
    for (const flow of this.#flows.values()) this.#fill(flow, command);
  }

  #fill(flow: Flow, command: SendCommand): void {
    const dueUs = nowUs();
    if (dueUs >= command.untilUs) return;
    while (flow.inFlight < command.window!.size && flow.left > 0) {
      flow.inFlight++;
      flow.left--;
      this.#put(flow, command, dueUs);
    }
  }

  /** A flight ended: the next of its flow leaves at the end of this turn. */
  #land(flow: Flow | undefined): void {
    if (!flow) return;
    flow.inFlight--;
    if (this.#dirty.size === 0) {
      queueMicrotask(() => {
        const dirty = this.#dirty;
        this.#dirty = new Set();
        for (const next of dirty) this.#fill(next, this.#send!);
      });
    }
    this.#dirty.add(flow);
  }

  /** Message k is due at start + k / rate, whatever became of those before it. */
  #pace(command: SendCommand, perSecond: number): void {
    const flows = [...this.#flows.values()];
    if (flows.length === 0) return;
    const stepUs = 1_000_000 / perSecond;
    let next = 0;
    const tick = () => {
      const now = nowUs();
      let dueUs = Math.round(command.startUs + next * stepUs);
      for (; dueUs <= now && dueUs < command.untilUs; dueUs = Math.round(command.startUs + next * stepUs)) {
        this.#put(flows[next++ % flows.length]!, command, dueUs);
        this.#lateness.add(now - dueUs);
      }
      if (dueUs >= command.untilUs) return;
      if (!command.spins) setTimeout(tick, (dueUs - now) / 1_000);
      else if (dueUs - now > SPIN_US) setTimeout(tick, (dueUs - now - SPIN_US) / 1_000);
      else setImmediate(tick);
    };
    tick();
  }

  #put(flow: Flow, { chars, ids }: SendCommand, dueUs: number): void {
    const from = flow.from, to = typeof flow.to === "string" ? flow.to : pick(flow.to);
    const key = `${from}>${to}`;
    const sequence = this.#sent.get(key) ?? 0;
    this.#sent.set(key, sequence + 1);
    let tail = "}";
    if (ids) {
      const id = makeId(key, sequence);
      this.#unacked.set(id, { dueUs, flow });
      tail = `,"id":"${id}"}`;
    }
    const content = makeContent(key, sequence, dueUs, chars);
    this.#clients.get(from)!.socket.send(`{"sender":"${from}","recipient":"${to}","content":"${content}"${tail}`);
  }
}

function pick(names: readonly string[]): string {
  return names[Math.floor(Math.random() * names.length)]!;
}

async function main(): Promise<void> {
  const agent = new Agent();
  setInterval(() => agent.confirm(), CONFIRM_MS);
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const answer = await agent.run(JSON.parse(line)).catch((error) => ({ failed: String(error) }));
      await write(JSON.stringify(answer) + "\n");
    }
  }
  Deno.exit();
}

async function write(text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  for (let done = 0; done < bytes.length;) done += await Deno.stdout.write(bytes.subarray(done));
}

if (import.meta.main) await main();
