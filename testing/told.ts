/** The log of a test: the sentences that an operator would read. */

import { EVENTS, type Log, sentenceOf } from "../ops/log.ts";

/** Returns a log that adds the sentence of each event to `lines`, but for those of the level `debug`. */
export function toldTo(lines: string[]): Log {
  return (event, fields) => {
    if (EVENTS[event].level !== "debug") lines.push(sentenceOf(event, fields));
  };
}
