/** A client's socket that ends at a hub in the same process. */

import { setImmediate } from "node:timers";
import type { Socket } from "../chat_client.ts";
import type { Connection, Hub, Receiver } from "../hub.ts";

/** One connection: what each end sends reaches the other in a later task, in its order. */
export class HubSocket implements Socket {
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onerror: Socket["onerror"] = null;
  onclose: Socket["onclose"] = null;
  readonly #near: Connection;
  #receiver: Receiver | undefined;

  constructor(hub: Hub) {
    this.#near = {
      buffered: 0,
      send: (text) => {
        later(() => this.onmessage?.(new MessageEvent("message", { data: text })));
        return true;
      },
      close: (code, reason) => later(() => this.onclose?.(new CloseEvent("close", { code, reason }))),
    };
    later(() => {
      this.#receiver = hub.connect(this.#near);
      this.onopen?.(new Event("open"));
    });
  }

  send(text: string): void {
    later(() => this.#receiver?.receive(text));
  }

  close(code = 1005): void {
    later(() => {
      this.#receiver?.gone(code === 1000);
      this.onclose?.(new CloseEvent("close", { code }));
    });
  }
}

function later(run: () => void): void {
  setImmediate(run);
}
