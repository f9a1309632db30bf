/**
 * The devices of this machine and their state. For each server and name there are a few, each with a random name, a position and
 * its unacked messages. A lock of the operating system shows which are in use, so that two clients at once are two devices, and
 * a client that was killed leaves nothing locked.
 */

import type { Position, Saved, Store } from "../chat_client.ts";
import { type Limits, type Message, parseAddress, parseContent, Refusal } from "../protocol.ts";
import { writePrivately } from "./paths.ts";
import { within } from "./within.ts";

/** Devices of one account and purpose on one machine: a server accepts few more of one user. */
const SLOTS_MAX = 32;
/** Milliseconds in which a free lock is taken, where the runtime has no `tryLock`. */
const LOCK_MS = 250;

/** A device in use by this process. */
export interface Device extends AsyncDisposable {
  readonly name: string;
  readonly store: Store;
  /** Folder of the account, for what its devices share. */
  readonly folder: string;
}

/** The server and the name that a device is for. */
export interface DeviceAccount {
  /** State folder of the client. */
  readonly folder: string;
  readonly server: string;
  readonly name: string;
  /** Devices of different purposes do not take each other's place. Default: chat. */
  readonly purpose?: string;
}

/**
 * Takes the first device that is free, or the one called `wanted`. Throws where its folder cannot be made, or none is free;
 * `warn` is told of state that cannot be read or written.
 */
export async function takeDevice(
  account: DeviceAccount,
  wanted: string | undefined,
  warn: (line: string) => void,
): Promise<Device> {
  const folder = `${account.folder}/${await accountKey(account)}`;
  try {
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new Error(`Cannot make the folder for the client's state: ${(error as Error).message}. Set XDG_STATE_HOME`);
  }
  if (wanted !== undefined) {
    const state = `${folder}/named-${await digest(wanted)}.json`;
    return { name: wanted, store: new FileStore(state, warn), folder, [Symbol.asyncDispose]: async () => {} };
  }
  for (let slot = 0; slot < SLOTS_MAX; slot++) {
    const lock = await tryLock(`${folder}/${slot}.lock`);
    if (!lock) continue;
    const device = held(lock, folder, slot, warn);
    await adoptOutboxes(folder, slot, device.store, warn);
    return device;
  }
  throw new Error(`${SLOTS_MAX} clients of "${account.name}" are running already`);
}

function held(lock: Deno.FsFile, folder: string, slot: number, warn: (line: string) => void): Device {
  const path = `${folder}/${slot}`;
  const dispose = () => {
    lock.close();
    return Promise.resolve();
  };
  const store = new FileStore(`${path}.json`, warn);
  return { name: nameIn(`${path}.device`), store, folder, [Symbol.asyncDispose]: dispose };
}

/**
 * Takes over the unacked messages of clients that no longer run, as the next client is not always on the same device. They are
 * stored here before they are removed there: a message that is sent twice under one id arrives once.
 */
async function adoptOutboxes(folder: string, own: number, store: Store, warn: (line: string) => void): Promise<void> {
  for (let slot = 0; slot < SLOTS_MAX; slot++) {
    const path = `${folder}/${slot}`;
    if (slot === own || readIfThere(`${path}.json`) === undefined) continue;
    const lock = await tryLock(`${path}.lock`);
    if (!lock) continue;
    const other = new FileStore(`${path}.json`, warn);
    const left = other.load();
    if (left.outbox.length > 0) {
      const saved = store.load();
      store.save({ ...saved, outbox: [...saved.outbox, ...left.outbox] });
      other.save({ ...left, outbox: [] });
    }
    lock.close();
  }
}

/** Returns the device name in a file, or writes a new one where there is none that can be used. */
function nameIn(file: string): string {
  const known = readIfThere(file)?.trim();
  if (known && /^[a-z0-9-]{4,32}$/.test(known)) return known;
  const name = newDeviceName();
  writePrivately(file, name + "\n");
  return name;
}

/** Returns a name that no other device has. */
export function newDeviceName(): string {
  return `cli-${crypto.randomUUID().slice(0, 8)}`;
}

async function tryLock(path: string): Promise<Deno.FsFile | undefined> {
  const file = await Deno.open(path, { create: true, write: true, mode: 0o600 });
  try {
    if (await lock(file)) return file;
  } catch { /* a file system without locks: nobody can tell whether the device is in use */ }
  file.close();
  return undefined;
}

/** Locks a file. Resolves to false where somebody else holds the lock. */
async function lock(file: Deno.FsFile): Promise<boolean> {
  if (typeof file.tryLock === "function") return await file.tryLock(true);
  return await within(file.lock(true).then(() => true), LOCK_MS) ?? false;
}

/** Returns the name of an account's folder: readable, and different for different accounts. */
async function accountKey({ server, name, purpose = "chat" }: DeviceAccount): Promise<string> {
  const { host } = new URL(server);
  const readable = `${host}-${name || "me"}-${purpose}`.replace(/[^a-zA-Z0-9.-]+/g, "_").slice(0, 80);
  return `${readable}-${await digest(`${server}\n${name}\n${purpose}`)}`;
}

async function digest(text: string): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return [...hash.subarray(0, 6)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Keeps position and outbox in a file. One that cannot be read counts as empty; one that cannot be written is reported once. */
export class FileStore implements Store {
  readonly #file: string;
  readonly #warn: (line: string) => void;
  #warned = false;

  constructor(file: string, warn: (line: string) => void) {
    this.#file = file;
    this.#warn = warn;
  }

  load(): Saved {
    try {
      return parseSaved(JSON.parse(readIfThere(this.#file) ?? "{}"));
    } catch {
      this.#putAside();
      return { outbox: [] };
    }
  }

  #putAside(): void {
    const aside = `${this.#file}.damaged`;
    try {
      Deno.renameSync(this.#file, aside);
      this.#warn(`${this.#file} is damaged, so it is now ${aside}; the server knows what was read`);
    } catch (error) {
      this.#warn(`Cannot read ${this.#file}: ${(error as Error).message}; the server knows what was read`);
    }
  }

  save(saved: Saved): void {
    try {
      writePrivately(this.#file, JSON.stringify(saved) + "\n");
    } catch (error) {
      if (!this.#warned) this.#warn(`Cannot remember what was read in ${this.#file}: ${(error as Error).message}`);
      this.#warned = true;
    }
  }
}

function parseSaved(value: unknown): Saved {
  const { position, limits, outbox = [] } = value as { position?: Partial<Position>; limits?: unknown; outbox?: unknown };
  const messages = (Array.isArray(outbox) ? outbox : []).flatMap((entry) => parseOutgoing(entry) ?? []);
  const known = parseLimits(limits);
  const saved: Saved = { ...(known ? { limits: known } : {}), outbox: messages };
  if (typeof position?.epoch !== "string" || !Number.isSafeInteger(position.seq)) return saved;
  return { ...saved, position: { epoch: position.epoch, seq: position.seq! } };
}

function parseLimits(value: unknown): Limits | undefined {
  const { frame, content, rate, burst } = (value ?? {}) as Partial<Limits>;
  const isLimit = (number: unknown): number is number => Number.isSafeInteger(number) && number as number >= 0;
  return isLimit(frame) && isLimit(content) && isLimit(rate) && isLimit(burst) ? { frame, content, rate, burst } : undefined;
}

/** Checks a message of an outbox. Its sender may be "": with a token the server decides. */
function parseOutgoing(entry: Partial<Message> | null): Message | undefined {
  const recipient = parseAddress(entry?.recipient);
  const content = parseContent(entry?.content, "content", Infinity);
  if (recipient instanceof Refusal || content instanceof Refusal) return undefined;
  const { sender, id } = entry!;
  if (typeof sender !== "string" || typeof id !== "string") return undefined;
  return { sender, recipient, content, id };
}

function readIfThere(file: string): string | undefined {
  try {
    return Deno.readTextFileSync(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
