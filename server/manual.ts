/** The manual page of the server. Pure. */

import { manualPage } from "../cli/manual.ts";
import { SERVER, VERSION } from "./options.ts";

/** Exit statuses with their meaning, for people. */
const EXIT_STATUSES: readonly (readonly [status: string, meaning: string])[] = [
  ["0", "It was told to stop, or the command was done."],
  ["1", "It could not start or go on: a port or a folder in use, keys or messages that cannot be read."],
  ["2", "The command line or the environment is wrong."],
];

/** The files that the server uses, where nothing else is said. */
const FILES: readonly (readonly [string, string])[] = [
  ["./data/", "Messages, groups and positions (SQLite); --data names another folder"],
];

/** Returns the manual page, in the language of man(7). */
export function serverManual(): string {
  return manualPage(SERVER, {
    source: `Parley ${VERSION}`,
    name: "a server for messages over WebSockets",
    description: "Takes messages from its clients, one line of JSON each, keeps them, and delivers them to every device of " +
      "their recipients. Without a key it serves this machine alone, and believes whoever says a name; with one it takes " +
      "only people with a token.",
    sections: [
      { heading: "Exit status", entries: EXIT_STATUSES },
      { heading: "Files", entries: FILES },
    ],
  });
}
