/** `/mute`: conversations that are quiet, for good or for a time, or but for what mentions this user. */

import { parseAddress, Refusal } from "../../protocol.ts";
import { sanitize } from "../sanitize.ts";
import type { ChatDisplay } from "./display.ts";
import type { Chats } from "./model.ts";
import { type Mute, type MutedFile, parseMute } from "./muted.ts";
import { clock, dayOf } from "./view.ts";

/** Runs `/mute NAME WORDS`; without a name, lists what is muted. */
export function runMute(rest: string, chats: Chats, file: MutedFile, display: ChatDisplay): void {
  const [given, ...words] = rest.split(/\s+/).filter((word) => word !== "");
  if (given === undefined) return display.notice(listOf(chats));
  const name = parseAddress(given.replace(/^@/, ""), "the name");
  if (name instanceof Refusal) return display.warning(name.message);
  const mute = parseMute(words, Date.now());
  if (typeof mute === "string") return display.warning(mute);
  if (mute === undefined) chats.muted.delete(name);
  else chats.muted.set(name, mute);
  try {
    file.set(name, mute);
  } catch (error) {
    display.warning(`This lasts until you leave, as it cannot be stored: ${(error as Error).message}`);
  }
  const shown = sanitize(name);
  if (mute === undefined) return display.notice(`${shown} is no longer muted`);
  display.notice(`${shown} is muted${wordsOf(mute)} on this device; /mute ${shown} off ends it`);
}

function listOf(chats: Chats): string {
  const muted = [...chats.muted].filter(([name]) => chats.isSilent(name, false));
  if (muted.length === 0) return "Nothing is muted";
  return muted.map(([name, mute]) => `  ${sanitize(name)}${wordsOf(mute)}`).join("\n");
}

function wordsOf({ mentions, until }: Mute): string {
  const ts = until === Infinity ? undefined : new Date(until).toISOString();
  const time = ts === undefined ? "" : ` until ${dayOf(ts)} ${clock(ts)}`;
  return `${mentions ? ", but for what mentions you," : ""}${time}`;
}
