/**
 * Values of options that each may be, and together would leave somebody outside for ever, or do what nobody meant. One rule is one
 * function; the start obeys the first that has something to say, and `chat-server check` asks all of them.
 */

import { DEFAULT_SCHEMA } from "../broker/postgres.ts";
import { wholeEnvironment } from "../cli/environment.ts";
import { canonicalOrigin, OriginError } from "../limits/origin.ts";
import type { ServerValues } from "./options.ts";

/** Frames that a connection's queue has room for at least: one that waits, and the next. */
const QUEUE_FRAMES_MIN = 2;
/** Bytes that a frame has beside the content: members, two names and an id, the longest of them. */
const FRAME_REST_BYTES = 256;

/** Returns a sentence for each thing that is wrong. */
export type Rule = (values: ServerValues) => readonly string[];

/** The rules. Each is asked by itself: none counts on another. */
export const RULES: readonly Rule[] = [
  postgresOptions,
  oneStorage,
  queueHoldsFrames,
  frameHoldsContent,
  originsOfPages,
  privateKeyOpensNothing,
];

/** Returns whether messages are gone when the server ends. */
export function keepsNothing({ broker, data }: Pick<ServerValues, "broker" | "data">): boolean {
  return broker === "memory" || data === ":memory:";
}

function postgresOptions(values: ServerValues): string[] {
  if (values.postgres !== undefined) return [];
  const options = ["postgres-password-file", "postgres-ca", "postgres-allow-async", "node"] as const;
  const given: string[] = options.filter((option) => values[option]);
  if (values["postgres-schema"] !== DEFAULT_SCHEMA) given.push("postgres-schema");
  return given.map((option) => `--${option} is about PostgreSQL, and needs --postgres`);
}

function oneStorage(values: ServerValues): string[] {
  if (values.postgres === undefined || !keepsNothing(values)) return [];
  return ["--postgres keeps messages, and --broker memory keeps none: choose one"];
}

function queueHoldsFrames({ "queue-bytes": queue, "frame-bytes": frame }: ServerValues): string[] {
  const least = frame * QUEUE_FRAMES_MIN;
  if (queue >= least) return [];
  return [`--queue-bytes ${queue} is too few for frames of ${frame} bytes; it has to be at least ${least}`];
}

function frameHoldsContent({ "content-bytes": content, "frame-bytes": frame }: ServerValues): string[] {
  const most = frame - FRAME_REST_BYTES;
  if (content <= most) return [];
  return [
    `--content-bytes ${content} does not fit into a frame of ${frame} bytes; it can be at most ${most}, ` +
    `or --frame-bytes has to be at least ${content + FRAME_REST_BYTES}`,
  ];
}

function originsOfPages({ "allow-origin": origins }: ServerValues): string[] {
  return origins.flatMap((origin) => {
    try {
      canonicalOrigin(origin);
      return [];
    } catch (error) {
      if (error instanceof OriginError) return [`--allow-origin ${error.message}`];
      throw error;
    }
  });
}

/** Refuses a private key beside open mode: whoever gives one means tokens to be asked for. */
function privateKeyOpensNothing(values: ServerValues): string[] {
  const isOpen = values["jwt-secret-file"] === undefined && values["jwt-public-key"] === undefined && values.jwks === undefined;
  if (!isOpen || values["insecure-open"] || !wholeEnvironment().PARLEY_JWT_PRIVATE_KEY) return [];
  return [
    "PARLEY_JWT_PRIVATE_KEY makes tokens and checks none, so everybody would be believed; " +
    "give the server the public key (--jwt-public-key), or unset it for open mode",
  ];
}
