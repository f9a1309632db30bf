/**
 * The device that this process is, and what it remembers: one of a few per server and name, each with a random name of its own,
 * a position and the messages that were not acked. A lock of the operating system says which are in use, so that two clients at
 * once are two devices, and a killed one leaves nothing locked.
 */

import type { Saved, Store } from "../chat_client.ts";
import { type Message, parseAddress, parseContent, Refusal } from "../protocol.ts";
import { writePrivately } from "./paths.ts";

/** Clients of one user at once on one machine: a server has room for few more. */
const SLOTS_MAX = 32;
/** Milliseconds for a lock that nobody holds, where the runtime cannot say at once that one is held. */
const LOCK_MS = 250;

/** A device in use by this process. */
export interface Device extends AsyncDisposable {
  readonly name: string;
  readonly store: Store;
  /** Where its account keeps what all its devices share. */
  readonly folder: string;
}

/** What one server and name have in common on this machine. */
export interface Account {
  /** The state folder. */
  readonly folder: string;
  readonly server: string;
  readonly name: string;
  /** What it is for: devices that do different things do not take each other's place. */
  readonly purpose?: string;
}

/** Takes the first device that is free, or the one called `wanted`. `warn` is told of state that could not be kept. */
export async function takeDevice(account: Account, wanted: string | undefined, warn: (line: string) => void): Promise<Device> {
  const folder = `${account.folder}/${await accountKey(account)}`;
  try {
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new Error(`Cannot make a folder for what is to be remembered: ${(error as Error).message}. Set XDG_STATE_HOME`);
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
  throw new Error(`${SLOTS_MAX} clients of "${account.name}" run already`);
}

function held(lock: Deno.FsFile, folder: string, slot: number, warn: (line: string) => void): Device {
  const path = `${folder}/${slot}`;
  const dispose = () => {
    lock.close();
    return Promise.resolve();
  };
  const store = new FileStore(`${path}.json`, warn);
  return { name: nameOf(`${path}.device`), store, folder, [Symbol.asyncDispose]: dispose };
}

/**
 * Takes over what clients that run no more could not send: the next one is not always on the same device. Kept here before it
 * is taken there, as what is sent twice under one id arrives once.
 */
async function adoptOutboxes(folder: string, own: number, store: Store, warn: (line: string) => void): Promise<void> {
  for (let slot = 0; slot < SLOTS_MAX; slot++) {
    const path = `${folder}/${slot}`;
    if (slot === own || readIfThere(`${path}.json`) === undefined) continue;
    const lock = await tryLock(`${path}.lock`);
    if (!lock) continue;
    const other = new FileStore(`${path}.json`, warn);
    const { position, outbox } = other.load();
    if (outbox.length > 0) {
      const saved = store.load();
      store.save({ ...saved, outbox: [...saved.outbox, ...outbox] });
      other.save({ position, outbox: [] });
    }
    lock.close();
  }
}

/** The name in a file; a new one where there is none that can be used. */
function nameOf(file: string): string {
  const known = readIfThere(file)?.trim();
  if (known && /^[a-z0-9-]{4,32}$/.test(known)) return known;
  const name = newDeviceName();
  writePrivately(file, name + "\n");
  return name;
}

/** A name that no other device has. */
export function newDeviceName(): string {
  return `cli-${crypto.randomUUID().slice(0, 8)}`;
}

async function tryLock(path: string): Promise<Deno.FsFile | undefined> {
  const file = await Deno.open(path, { create: true, write: true, mode: 0o600 });
  try {
    if (await isLocked(file)) return file;
  } catch { /* a file system without locks: not ours to take */ }
  file.close();
  return undefined;
}

async function isLocked(file: Deno.FsFile): Promise<boolean> {
  if (typeof file.tryLock === "function") return await file.tryLock(true);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => timer = setTimeout(resolve, LOCK_MS, false));
  try {
    return await Promise.race([file.lock(true).then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A folder's name for a server and name: readable, and different for what is different. */
async function accountKey({ server, name, purpose = "chat" }: Account): Promise<string> {
  const { host } = new URL(server);
  const readable = `${host}-${name || "me"}-${purpose}`.replace(/[^a-zA-Z0-9.-]+/g, "_").slice(0, 80);
  return `${readable}-${await digest(`${server}\n${name}\n${purpose}`)}`;
}

async function digest(text: string): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return [...hash.subarray(0, 6)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Position and outbox in a file. What cannot be read is as good as nothing; what cannot be written is told once. */
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
  const { position, outbox = [] } = value as { position?: { epoch?: unknown; seq?: unknown }; outbox?: unknown };
  const messages = (Array.isArray(outbox) ? outbox : []).flatMap((entry) => parseOutgoing(entry) ?? []);
  if (typeof position?.epoch !== "string" || !Number.isSafeInteger(position.seq)) return { outbox: messages };
  return { position: { epoch: position.epoch, seq: position.seq as number }, outbox: messages };
}

/** A message to be sent. Its sender may be "": with a token the server says who that is. */
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
