/**
 * TLS terminated in front of the server, with certificates that can be replaced while connections live on.
 *
 * `Deno.serve` keeps the certificate that it was started with, and ends its sockets with it. So TLS ends here, and the plain bytes
 * go to the server over loopback, on a port that takes nobody else.
 */

import { delay } from "@std/async/delay";
import { startsWith } from "@std/bytes/starts-with";
import type { Certificate } from "./transport.ts";

/**
 * Milliseconds that a peer has to become a WebSocket; one that is none by then is done, or never will be. A peer that is still in
 * its TLS handshake is given up too, but its socket stays until it goes: Deno does not end a handshake.
 */
const UPGRADE_MS = 10_000;
/** Beginning of the answer to an upgrade. */
const SWITCHING = new TextEncoder().encode("HTTP/1.1 101 ");
/** Milliseconds between attempts to accept where descriptors have run out. */
const RETRY_MS = 100;
/** Bytes that are carried at once: a TLS record. */
const BUFFER_BYTES = 16_384;

/** Options of a {@linkcode TlsTerminator}. */
export interface TlsTerminatorOptions extends Certificate {
  readonly hostname: string;
  /** 0 for any free port. */
  readonly port: number;
  /** Port of this machine that the plain bytes go to. */
  readonly target: number;
  readonly upgradeMs?: number;
}

/** Terminates TLS. */
export class TlsTerminator {
  readonly port: number;
  readonly #hostname: string;
  readonly #target: number;
  readonly #upgradeMs: number;
  #listener: Deno.TlsListener;
  #accepting: Promise<void>;
  /** Addresses of peers by the local port of the connection that carries them on. */
  readonly #peers = new Map<number, string>();
  readonly #connections = new Set<Deno.Conn>();

  /** Throws what listening throws, and for a certificate that cannot be used. */
  constructor(options: TlsTerminatorOptions) {
    this.#hostname = options.hostname;
    this.#target = options.target;
    this.#upgradeMs = options.upgradeMs ?? UPGRADE_MS;
    this.#listener = listen(options.hostname, options.port, options);
    this.port = this.#listener.addr.port;
    this.#accepting = this.#accept(this.#listener);
  }

  /** Returns the address of the peer behind a connection from `port`; undefined for one that did not come through here. */
  peerOf(port: number): string | undefined {
    return this.#peers.get(port);
  }

  /** Gives new connections this certificate; open ones live on. Rejects for one that cannot be used. */
  async renew(certificate: Certificate): Promise<void> {
    listen(this.#hostname, 0, certificate).close(); // throws before anything is given up
    this.#listener.close();
    await this.#accepting; // the port is free once the last accept has ended
    this.#listener = listen(this.#hostname, this.port, certificate);
    this.#accepting = this.#accept(this.#listener);
  }

  /** Stops accepting. Idempotent. */
  stop(): void {
    try {
      this.#listener.close();
    } catch { /* closed already */ }
  }

  /** Stops accepting and cuts every connection. Idempotent. */
  close(): void {
    this.stop();
    for (const connection of this.#connections) end(connection);
  }

  /** Accepts until the listener is closed. Accepting fails when descriptors have run out: they come back as connections end. */
  async #accept(listener: Deno.TlsListener): Promise<void> {
    for (;;) {
      try {
        for await (const peer of listener) void this.#carry(peer);
        return;
      } catch {
        await delay(RETRY_MS);
      }
    }
  }

  async #carry(peer: Deno.TlsConn): Promise<void> {
    this.#connections.add(peer);
    const timer = setTimeout(() => end(peer), this.#upgradeMs);
    let inner: Deno.TcpConn | undefined;
    try {
      await peer.handshake();
      inner = await Deno.connect({ hostname: "127.0.0.1", port: this.#target });
      inner.setNoDelay(true);
      this.#connections.add(inner);
      this.#peers.set(inner.localAddr.port, peer.remoteAddr.hostname);
      const stopTiming = (bytes: Uint8Array) => {
        const isUpgraded = startsWith(bytes, SWITCHING);
        if (isUpgraded) clearTimeout(timer);
        return isUpgraded;
      };
      await Promise.all([pump(peer, inner), pump(inner, peer, stopTiming)]);
    } catch { /* one side broke off, or is no TLS */ }
    clearTimeout(timer);
    if (inner) {
      this.#peers.delete(inner.localAddr.port);
      this.#connections.delete(inner);
      end(inner);
    }
    this.#connections.delete(peer);
    end(peer);
  }
}

/**
 * Carries one direction, and shows what comes to `isEnough` until that returns true. Its end ends both directions, as nobody talks
 * half a WebSocket.
 */
async function pump(from: Deno.Conn, to: Deno.Conn, isEnough: (bytes: Uint8Array) => boolean = () => true): Promise<void> {
  const buffer = new Uint8Array(BUFFER_BYTES);
  let isShown = true;
  for (let length; (length = await from.read(buffer)) !== null;) {
    const bytes = buffer.subarray(0, length);
    if (isShown) isShown = !isEnough(bytes);
    for (let sent = 0; sent < length;) sent += await to.write(bytes.subarray(sent));
  }
  end(from);
  end(to);
}

function listen(hostname: string, port: number, { cert, key }: Certificate): Deno.TlsListener {
  return Deno.listenTls({ hostname, port, cert, key });
}

function end(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch { /* closed already */ }
}
