/** Opening a connection: a device of this machine, and a client that runs on it. */

import { ChatClient, type ChatOptions, type Saved, type Store } from "../chat_client.ts";
import { type Device, newDeviceName, takeDevice } from "./device.ts";
import { warn } from "./output.ts";
import type { Folders } from "./paths.ts";
import { bypassProxy, namingProxy } from "./proxy.ts";
import type { Account } from "./settings.ts";
import { TokenSource } from "./token.ts";
import { explainFailure, socketFactory } from "./transport.ts";

/** The account and the folders that a run of the client is for. */
export interface RunContext {
  readonly account: Account;
  readonly folders: Folders;
}

/** A client and its device. Disposing closes the client and frees the device. */
export interface OpenClient extends AsyncDisposable {
  readonly client: ChatClient;
  readonly device: Device;
}

/** The purpose of a device. Only `chat` keeps unacked messages for the next run: a script has the exit status. */
export type Purpose = "chat" | "pipe" | "send" | "listen";

/**
 * Takes a device and makes a client for it, which the caller connects. Runs that do different `work` for the same purpose have
 * devices, and so positions, of their own.
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
  bypassProxy(server);
  const source = token && new TokenSource({ read: token, file: account.files.token, host: new URL(server).host });
  const client = new ChatClient({
    url: server,
    device: device.name,
    store: purpose === "chat" ? device.store : new PositionStore(device.store),
    socket: socketFactory(account.ca),
    explain: namingProxy(explainFailure(account, source && ((refused) => source.judge(refused))), server),
    ...(name === "" ? {} : { name }),
    ...(source ? { token: () => source.next() } : {}),
    ...options,
    welcome(frame, missed) {
      source?.welcomed();
      options.welcome?.(frame, missed);
    },
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

/**
 * Takes a remembered device, or, where nothing can be remembered, makes one for this run alone. `send` needs no more than that,
 * so nobody is warned.
 */
async function deviceFor(wanted: Parameters<typeof takeDevice>[0], name: string | undefined): Promise<Device> {
  try {
    return await takeDevice(wanted, name, warn);
  } catch (error) {
    if (wanted.purpose !== "send") warn(`${(error as Error).message}. Nothing is remembered for the next time`);
    const store = { load: () => ({ outbox: [] }), save() {} };
    return { name: name ?? newDeviceName(), store, folder: wanted.folder, [Symbol.asyncDispose]: async () => {} };
  }
}

/** Keeps position and limits alone, and writes them only when they changed. */
class PositionStore implements Store {
  readonly #inner: Store;
  #written = "";

  constructor(inner: Store) {
    this.#inner = inner;
  }

  load(): Saved {
    const { position, limits } = this.#inner.load();
    this.#written = JSON.stringify([position, limits]);
    return { position, limits, outbox: [] };
  }

  save({ position, limits }: Saved): void {
    const state = JSON.stringify([position, limits]);
    if (state === this.#written) return;
    this.#written = state;
    this.#inner.save({ position, limits, outbox: [] });
  }
}
