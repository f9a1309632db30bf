/** The port between the server and what carries its connections: a transport listens, answers HTTP, and upgrades. */

import type { Log } from "../ops/log.ts";
import type { Gate } from "./gate.ts";
import type { Guests } from "./guest.ts";
import type { Head } from "./head.ts";

/** Certificate chain and private key, as PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** Answers a request from a peer's address; undefined for one that came around the TLS in front. */
export type Handler = (request: Head, address: string | undefined) => Response | Promise<Response>;

/** Upgrades a request that is a proper WebSocket handshake from `address`, or answers why not. */
export type Upgrade = (request: Head, address: string) => Response | Promise<Response>;

/** Parts that a transport is made of. */
export interface TransportOptions {
  readonly hostname: string;
  /** 0 for any free port. */
  readonly port: number;
  /** Serves TLS. */
  readonly certificate: Certificate | undefined;
  readonly gate: Gate;
  readonly guests: Guests;
  /** Bytes of one frame from a peer that the hub takes. */
  readonly frameBytes: number;
  /** Makes the handler of all requests, given what upgrades them. */
  readonly handlerOf: (upgrade: Upgrade) => Handler;
  readonly log: Log;
}

/** A transport that listens. */
export interface Transport {
  readonly port: number;
  /** False while it cannot take connections: descriptors have run out. */
  readonly isListening: boolean;
  /** Gives new connections this certificate; open ones live on. Rejects for one that cannot be used. */
  renew(certificate: Certificate): Promise<void>;
  /** Begins a drain: stops accepting where nobody could be told of it. Idempotent. */
  stop(): void;
  /** Cuts whatever connection is left, and resolves when nothing is. Idempotent. */
  close(): Promise<void>;
}
