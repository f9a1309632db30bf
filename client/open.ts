/** What every way of running the client shares: exit statuses, output, signals, and a connection from settings. */

import { ChatClient, type ChatOptions, type Saved, type State, type Store } from "../chat_client.ts";
import { type Device, newDeviceName, takeDevice } from "./device.ts";
import type { Folders } from "./paths.ts";
import { sanitize } from "./sanitize.ts";
import type { Account } from "./settings.ts";
import { explainFailure, socketFactory } from "./transport.ts";

/** The client's exit statuses. */
export const EXIT = { ok: 0, refused: 1, usage: 2, unreachable: 3 } as const;

const encoder = new TextEncoder();

/** Writes one line to stdout, whole. Ends the process quietly when nobody reads it any more: for what has nothing else to do. */
export function print(line: string): void {
  if (!tryPrint(line)) Deno.exit(EXIT.ok);
}

/** Writes one line to stdout, whole; false when nobody reads it any more. */
export function tryPrint(line: string): boolean {
  try {
    writeAll(Deno.stdout, line + "\n");
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return false;
    throw new Error(`Cannot write what came: ${(error as Error).message}`);
  }
}

/** Writes one line to stderr. */
export function warn(line: string): void {
  try {
    writeAll(Deno.stderr, sanitize(line, { multiline: true }) + "\n");
  } catch { /* nobody reads it */ }
}

function writeAll(out: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = encoder.encode(text);
  for (let written = 0; written < bytes.length;) written += out.writeSync(bytes.subarray(written));
}

/** What is said when the server cannot give everything since the last time. */
export const MISSED_WORDS = "The server no longer has all that was said since the last time; what it has follows";

/** What a run needs to connect. */
export interface RunContext {
  readonly account: Account;
  readonly folders: Folders;
}

/** A client on a device of its own. Disposing closes both. */
export interface OpenClient extends AsyncDisposable {
  readonly client: ChatClient;
  readonly device: Device;
}

/** What a device is for. Only `chat` keeps what was not acked for the next time: a script is told by the exit status. */
export type Purpose = "chat" | "pipe" | "send" | "listen";

/**
 * Takes a device and makes a client; {@linkcode ChatClient.connect} is the caller's. What does something else with its messages
 * says what in `work`: it has devices, and so positions, of its own.
 */
export async function openClient(
  { account, folders }: RunContext,
  purpose: Purpose,
  options: Omit<ChatOptions, "url" | "device" | "name">,
  work = "",
): Promise<OpenClient> {
  const { server, name, token } = account;
  const wanted = { folder: folders.state, server, name, purpose: work === "" ? purpose : `${purpose} ${work}` };
  const device = await deviceFor(wanted, account.device);
  const client = new ChatClient({
    url: server,
    device: device.name,
    store: purpose === "chat" ? device.store : new PositionStore(device.store),
    socket: socketFactory(account.ca),
    explain: explainFailure(account),
    ...(name === "" ? {} : { name }),
    ...(token ? { token } : {}),
    ...options,
  });
  return {
    client,
    device,
    async [Symbol.asyncDispose]() {
      await client.close();
      await device[Symbol.asyncDispose]();
    },
  };
}

/** A device that is remembered; where that cannot be, one for this once, which is enough for what sends and is told at once. */
async function deviceFor(wanted: Parameters<typeof takeDevice>[0], name: string | undefined): Promise<Device> {
  try {
    return await takeDevice(wanted, name, warn);
  } catch (error) {
    if (wanted.purpose !== "send") warn(`${(error as Error).message}. Nothing is remembered for the next time`);
    const store = { load: () => ({ outbox: [] }), save() {} };
    return { name: name ?? newDeviceName(), store, folder: wanted.folder, [Symbol.asyncDispose]: async () => {} };
  }
}

/** Keeps the position alone, and writes it only when it moved. */
class PositionStore implements Store {
  #seq: number | undefined;

  constructor(readonly inner: Store) {}

  load(): Saved {
    const { position } = this.inner.load();
    this.#seq = position?.seq;
    return { position, outbox: [] };
  }

  save({ position }: Saved): void {
    if (position === undefined || position.seq === this.#seq) return;
    this.#seq = position.seq;
    this.inner.save({ position, outbox: [] });
  }
}

/** Calls `stop` for the signals that ask a program to end. Returns what takes it back. */
export function onSignal(stop: (signal: Deno.Signal) => void): () => void {
  const signals: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT", "SIGBREAK"] : ["SIGINT", "SIGTERM", "SIGHUP"];
  const listeners = signals.map((signal) => [signal, () => stop(signal)] as const);
  for (const [signal, listener] of listeners) Deno.addSignalListener(signal, listener);
  return () => {
    for (const [signal, listener] of listeners) Deno.removeSignalListener(signal, listener);
  };
}

/** Whether people want to hear of a state: not of attempts, and not of the end that they asked for. */
export function isNews(state: State): boolean {
  return state.phase !== "connecting" && (state.phase !== "closed" || state.needsUser);
}

/** A state in words, for people. */
export function stateWords(state: State, server: string): string {
  const { host } = new URL(server);
  switch (state.phase) {
    case "connecting":
      return `Connecting to ${host}`;
    case "online":
      return `Connected to ${host}`;
    case "waiting":
      return `${sanitize(state.reason)}; trying again in ${seconds(state.delayMs)}`;
    case "closed":
      return closedWords(state.code, sanitize(state.reason));
  }
}

function closedWords(code: number, reason: string): string {
  if (code === 4009) return "This device connected a second time, so this one ended";
  return reason;
}

function seconds(ms: number): string {
  return ms < 1_000 ? "a moment" : `${Math.round(ms / 1_000)} s`;
}

/** Resolves after `ms` milliseconds; `cancel` lets it never resolve. */
export function timeout(ms: number): { readonly passed: Promise<"timeout">; cancel(): void } {
  let timer: ReturnType<typeof setTimeout>;
  const passed = new Promise<"timeout">((resolve) => timer = setTimeout(resolve, ms, "timeout"));
  return { passed, cancel: () => clearTimeout(timer) };
}
