/** The sentences in which the client tells people about its connection. Pure; text from the server is made harmless here. */

import type { State } from "../chat_client.ts";
import { CLOSE_CODES, type ErrorFrame, type Message } from "../protocol.ts";
import { sanitize } from "./sanitize.ts";

/** Told when the server cannot replay everything since the last time. */
export const MISSED_WORDS = "The server no longer has all that was said since the last time; what it has follows";

/** Returns whether people want to hear of a state: not of single attempts, and not of an end that they asked for. */
export function isNews(state: State): boolean {
  return state.phase !== "connecting" && (state.phase !== "closed" || state.needsUser);
}

/** The news of one connection: a reason to wait is told once, and again after a connection. */
export class StateNews {
  #reason = "";

  /** Returns whether a state is to be told. */
  isNew(state: State): boolean {
    const reason = state.phase === "waiting" ? state.reason : "";
    const isKnown = reason !== "" && reason === this.#reason;
    if (state.phase !== "connecting") this.#reason = reason;
    return isNews(state) && !isKnown;
  }
}

/** Returns a state as a sentence. */
export function stateWords(state: State, server: string): string {
  const { host } = new URL(server);
  switch (state.phase) {
    case "connecting":
      return `Connecting to ${host}`;
    case "online":
      return `Connected to ${host}`;
    case "waiting":
      return `${sanitize(state.reason)}; trying again in ${durationWords(state.delayMs)}`;
    case "closed":
      if (state.code === CLOSE_CODES.replaced.code) return "This device connected a second time, so this one ended";
      return sanitize(state.reason);
  }
}

function durationWords(ms: number): string {
  return ms < 1_000 ? "a moment" : `${Math.round(ms / 1_000)} s`;
}

/** Returns as one line why something was not sent (`retryMs` undefined), or not yet. */
export function refusedWords(error: ErrorFrame, message: Message | undefined, retryMs: number | undefined): string {
  const reason = sanitize(error.message);
  if (!message) return `The server refused something: ${reason}`;
  if (retryMs === undefined) return `Not sent to ${message.recipient}: ${reason}`;
  return `Waiting to send to ${message.recipient}: ${reason}`;
}
