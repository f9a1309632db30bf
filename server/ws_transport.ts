/**
 * The library `ws` on Deno's `node:http` as a transport. What Deno's own sockets leave open is bounded here: heads and handshakes
 * have a deadline, fragments a limit, and every peer can be ended.
 */

import { Buffer } from "node:buffer";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { Socket } from "node:net";
import { WebSocketServer } from "ws";
import { SUBPROTOCOL } from "../auth/tokens.ts";
import { reasonOf } from "../ops/log.ts";
import type { Admitted } from "./guest.ts";
import type { Head } from "./head.ts";
import { plain } from "./http.ts";
import { NodeHead, refuse, respond } from "./node_http.ts";
import type { Certificate, Handler, Transport, TransportOptions } from "./transport.ts";
import { TellingSocket, WsConnections, type WsTimes } from "./ws_connection.ts";
import { WsListener } from "./ws_listener.ts";

/** Milliseconds that a TLS handshake, and then the head of a request, may take. */
const HEAD_TIMEOUT_MS = 10_000;
/** Part of that time after which it is looked for those that are late. */
const HEAD_CHECKS = 10;
/** Bytes of a head: a token of 4 KiB, twice over for the subprotocol, and what proxies add. */
const HEAD_BYTES_MAX = 16_384;
/** Lines of a head, as many as Deno's own server takes. */
const HEAD_LINES_MAX = 100;
/** Factor over the frame limit of the largest message that is put together: the hub refuses what is over the limit, with words. */
const MESSAGE_FACTOR = 2;
/** Fragments of one message. Clients that send fragments send large ones; each may keep a buffer of the network's alive. */
const FRAGMENTS_MAX = 64;
/** Pieces in which the network may bring a frame, at least; a large frame may come in more. */
const CHUNKS_MIN = 1_024;
/** Bytes of such a piece that is small: an eighth of what a packet carries. */
const CHUNK_BYTES_MIN = 180;
/** Milliseconds by which a connection's own end comes before that of `ws`: it frees what the kernel holds, too. */
const CLOSE_MARGIN_MS = 1_000;
/** Headers of the last answer on a connection: what else comes there is not to be trusted. */
const LAST = { connection: "close" };
/** Answer that stands for an upgrade that was done. */
const SWITCHED = new Response(null, { status: 204 });

/** Times of the transport, for tests, in milliseconds. */
export interface WsTransportTimes extends WsTimes {
  readonly headMs?: number;
}

/** Head of a request that waits for its upgrade, with what Node hands out for that. */
class UpgradeHead extends NodeHead {
  readonly socket: Socket;
  readonly first: Buffer;

  /** `first` is what came behind the head. */
  constructor(message: IncomingMessage, scheme: "http" | "https", socket: Socket, first: Buffer) {
    super(message, scheme);
    this.socket = socket;
    this.first = first;
  }
}

/** Listens. Rejects with what `Deno.listen` throws, and for a certificate that cannot be used. */
export async function listenWithWs(options: TransportOptions, times: WsTransportTimes = {}): Promise<Transport> {
  const { hostname, port, certificate, guests, log } = options;
  const server = serverOf(certificate, times.headMs ?? HEAD_TIMEOUT_MS);
  const connections = new WsConnections(guests, times);
  const front = new HttpFront(options, connections);
  server.on("request", (message, response) => void front.answer(message, response));
  // Nobody is told to send a body before the handler wants it.
  server.on("checkContinue", (message, response) => void front.answer(message, response, () => response.writeContinue()));
  server.on("upgrade", (message: IncomingMessage, socket, first) => front.upgrade(message, socket as Socket, first));
  server.on("clientError", (error: Error & { code?: string }, socket) => refuseHead(error, socket as Socket));
  let listener: WsListener;
  try {
    listener = await WsListener.listen(server, { hostname, port, log });
  } catch (error) {
    connections.close();
    throw error;
  }
  const closed = new Promise<void>((resolve) => server.once("close", resolve));
  return {
    port: listener.port,
    get isListening() {
      return listener.isListening;
    },
    // deno-lint-ignore require-await -- a certificate that cannot be used rejects
    async renew(renewed) {
      checkCertificate(renewed);
      if ("setSecureContext" in server) server.setSecureContext({ ...renewed });
    },
    stop() {}, // until the end, whoever comes is told that it drains
    async close() {
      listener.stop();
      connections.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function serverOf(certificate: Certificate | undefined, headMs: number): Server | TlsServer {
  const limits = {
    headersTimeout: headMs,
    requestTimeout: headMs,
    keepAliveTimeout: headMs,
    connectionsCheckingInterval: headMs / HEAD_CHECKS,
    maxHeaderSize: HEAD_BYTES_MAX,
    noDelay: true,
  };
  if (!certificate) return createServer(limits);
  checkCertificate(certificate);
  return createTlsServer({ ...limits, ...certificate, handshakeTimeout: headMs, ALPNProtocols: ["http/1.1"] });
}

/** Throws for a certificate that cannot be used: a server would take it, and fail at every handshake. */
function checkCertificate({ cert, key }: Certificate): void {
  const blocks = cert.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new TypeError("There is no certificate (PEM) in it");
  const [leaf] = blocks.map((block) => new X509Certificate(block));
  if (!leaf!.checkPrivateKey(createPrivateKey(key))) throw new TypeError("The private key is not that of the certificate");
}

/** HTTP of the transport: requests to the handler, and upgrades through the gate. */
class HttpFront {
  readonly #options: TransportOptions;
  readonly #connections: WsConnections;
  readonly #scheme: "http" | "https";
  readonly #handle: Handler;
  readonly #sockets: WebSocketServer<TellingSocket>;
  /** The newest answer on a connection, until it is out. */
  readonly #due = new WeakMap<Socket, ServerResponse>();

  constructor(options: TransportOptions, connections: WsConnections) {
    this.#options = options;
    this.#connections = connections;
    this.#scheme = options.certificate ? "https" : "http";
    this.#handle = options.handlerOf((head, address) => this.#admit(head, address));
    const maxPayload = options.frameBytes * MESSAGE_FACTOR;
    this.#sockets = new WebSocketServer({
      noServer: true,
      WebSocket: TellingSocket,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload,
      maxFragments: FRAGMENTS_MAX,
      maxBufferedChunks: Math.max(CHUNKS_MIN, Math.ceil(maxPayload / CHUNK_BYTES_MIN)),
      closeTimeout: connections.closeMs + CLOSE_MARGIN_MS,
      autoPong: false, // a connection answers the newest ping of a turn, so none of them pend
      handleProtocols: (offered) => offered.has(SUBPROTOCOL) && SUBPROTOCOL,
    });
  }

  /** Answers a request. */
  async answer(message: IncomingMessage, response: ServerResponse, proceed?: () => void): Promise<void> {
    const { socket } = message;
    this.#due.set(socket, response);
    response.once("close", () => {
      if (this.#due.get(socket) === response) this.#due.delete(socket);
    });
    const answer = await this.#answerOf(new NodeHead(message, this.#scheme, proceed));
    await respond(message, response, answer).catch(() => message.socket.destroy());
  }

  /**
   * Answers a request to upgrade, after those that came before it on its connection: with an upgrade, if it is one to a WebSocket
   * and the gate admits it.
   */
  upgrade(message: IncomingMessage, socket: Socket, first: Buffer): void {
    socket.on("error", destroyItself); // nobody else listens until there is a WebSocket
    const due = this.#due.get(socket);
    if (due) due.once("close", () => this.#upgrade(message, socket, first));
    else this.#upgrade(message, socket, first);
  }

  #upgrade(message: IncomingMessage, socket: Socket, first: Buffer): void {
    const answer = this.#answerOf(new UpgradeHead(message, this.#scheme, socket, first));
    if (answer !== SWITCHED) void this.#refuse(socket, message.method, answer);
  }

  async #refuse(socket: Socket, method: string | undefined, answer: Response | Promise<Response>): Promise<void> {
    try {
      const refusal = await answer;
      if (refusal !== SWITCHED) await refuse(socket, method, refusal);
    } catch {
      socket.destroy();
    }
  }

  /**
   * Answers at once where nothing has to be waited for: what a promise holds while the collector looks is moved to the old
   * generation, whose pages stay with the process.
   */
  #answerOf(head: NodeHead): Response | Promise<Response> {
    if (head.headers.size > HEAD_LINES_MAX) return plain(431, `A head has at most ${HEAD_LINES_MAX} lines`, LAST);
    if (head.isRefused) return plain(400, "Host is no name of a host", LAST);
    try {
      const answer = this.#handle(head, addressOf(head.message.socket));
      return answer instanceof Promise ? answer.catch((error) => this.#failed(error)) : answer;
    } catch (error) {
      return this.#failed(error);
    }
  }

  #failed(error: unknown): Response {
    this.#options.log("request_failed", { reason: reasonOf(error) });
    return plain(500, "The server failed at this request");
  }

  #admit(head: Head, address: string): Response | Promise<Response> {
    if (!(head instanceof UpgradeHead) || head.message.httpVersion !== "1.1" || !asksToUpgrade(head)) {
      return plain(400, "This request cannot be upgraded to a WebSocket");
    }
    const admitted = this.#options.gate.enter(head, address);
    return admitted instanceof Promise
      ? admitted.then((admitted) => this.#switch(head, admitted))
      : this.#switch(head, admitted);
  }

  /** Upgrades the connection of somebody who was admitted. */
  #switch({ message, socket, first }: UpgradeHead, admitted: Admitted | Response): Response {
    if (admitted instanceof Response) return admitted;
    let isOpen = false;
    this.#sockets.handleUpgrade(message, socket, first, (opened) => {
      isOpen = true;
      socket.off("error", destroyItself);
      this.#connections.open(opened, socket, admitted);
    });
    if (!isOpen) admitted.slot.release(); // the peer is gone, or `ws` has refused what it offers
    return SWITCHED;
  }
}

/** Returns whether a head says so in Connection: Node takes Proxy-Connection for it, which a proxy in front does not understand. */
function asksToUpgrade({ headers }: Head): boolean {
  return (headers.get("connection") ?? "").split(",").some((option) => option.trim().toLowerCase() === "upgrade");
}

function destroyItself(this: Socket): void {
  this.destroy();
}

/** Returns the address of a peer; one of IPv4 as such, whatever the socket that listens. */
function addressOf({ remoteAddress = "" }: Socket): string {
  return remoteAddress.replace(/^::ffff:/, "");
}

/** Answers a head that is none, is too large or comes too late, and ends its connection. */
function refuseHead({ code }: { code?: string }, socket: Socket): void {
  if (!socket.writable) return socket.destroy() as unknown as void;
  // What still comes is read and dropped: parsed, each chunk of it would be another error, with another answer.
  socket.removeAllListeners("data").resume();
  const answer = code === "HPE_HEADER_OVERFLOW"
    ? plain(431, `A head has at most ${HEAD_BYTES_MAX} bytes`)
    : code === "ERR_HTTP_REQUEST_TIMEOUT"
    ? plain(408, "The request took too long")
    : plain(400, "This is no request");
  refuse(socket, "GET", answer).catch(() => socket.destroy());
}
