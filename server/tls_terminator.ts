/**
 * TLS in front of the server, with certificates that can be replaced while connections live on.
 *
 * `Deno.serve` keeps the certificate that it was started with, and ends its sockets with it. So TLS ends here, and what comes out
 * goes to the server over loopback, on a port that takes nobody else.
 */

/**
 * Milliseconds that a peer has to become a WebSocket: what is none by then is done, or never will be. One that is still in its
 * handshake is given up too, but its socket stays until it goes: Deno does not end a handshake.
 */
const UPGRADE_MS = 10_000;
/** How the answer to an upgrade begins. */
const SWITCHING = new TextEncoder().encode("HTTP/1.1 101 ");
/** Milliseconds between attempts to accept where descriptors have run out. */
const RETRY_MS = 100;
/** Bytes that are carried at once. */
const BUFFER_BYTES = 16_384;

/** Certificate chain and private key, as PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** Where it listens, and to which port of this machine it carries. */
export interface TlsFrontOptions extends Certificate {
  readonly hostname: string;
  readonly port: number;
  readonly target: number;
  readonly upgradeMs?: number;
}

/** Ends TLS. */
export class TlsFront {
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
  constructor(options: TlsFrontOptions) {
    this.#hostname = options.hostname;
    this.#target = options.target;
    this.#upgradeMs = options.upgradeMs ?? UPGRADE_MS;
    this.#listener = listen(options.hostname, options.port, options);
    this.port = this.#listener.addr.port;
    this.#accepting = this.#accept(this.#listener);
  }

  /** The address of the peer behind a connection to the server; undefined for one that did not come through here. */
  peerOf(port: number): string | undefined {
    return this.#peers.get(port);
  }

  /** From now on new connections get this certificate; open ones live on. Rejects for one that cannot be used. */
  async renew(certificate: Certificate): Promise<void> {
    listen(this.#hostname, 0, certificate).close(); // throws before anything is given up
    this.#listener.close();
    await this.#accepting; // the port is free once the last accept has ended
    this.#listener = listen(this.#hostname, this.port, certificate);
    this.#accepting = this.#accept(this.#listener);
  }

  /** Takes nobody in any more. */
  stop(): void {
    try {
      this.#listener.close();
    } catch { /* closed already */ }
  }

  /** Cuts what is left. */
  close(): void {
    this.stop();
    for (const connection of this.#connections) end(connection);
  }

  /** Until the listener is closed. Accepting fails where descriptors have run out: they come back as connections end. */
  async #accept(listener: Deno.TlsListener): Promise<void> {
    for (;;) {
      try {
        for await (const peer of listener) void this.#carry(peer);
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
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
        const isUpgraded = isSwitching(bytes);
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

/** Carries one direction, and shows it until that was enough; the end of it ends both, as nobody talks half a WebSocket. */
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

function isSwitching(bytes: Uint8Array): boolean {
  return SWITCHING.every((byte, i) => bytes[i] === byte);
}

function listen(hostname: string, port: number, { cert, key }: Certificate): Deno.TlsListener {
  return Deno.listenTls({ hostname, port, cert, key });
}

function end(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch { /* closed already */ }
}
