/** The manual page of the client: its options, the chat's commands, exit statuses and files. Pure. */

import { manualPage } from "../cli/manual.ts";
import { EXIT_STATUSES } from "./exit.ts";
import { CLIENT, VERSION } from "./options.ts";
import { CHAT_COMMANDS, CHAT_KEYS, usageOf } from "./terminal/commands.ts";

/** The files that the client uses, where they are on Linux. */
const FILES: readonly (readonly [string, string])[] = [
  ["~/.config/parley/client.json", "Settings: options by their names, without the dashes, and servers by short names"],
  [
    "~/.local/state/parley/",
    "Positions, limits of servers, messages that are not acked yet, ignored people, mutes, whether receipts are sent, and typed lines; readable by their owner alone",
  ],
];

/** Returns the manual page, in the language of man(7). */
export function clientManual(): string {
  return manualPage(CLIENT, {
    source: `Parley ${VERSION}`,
    name: "chat from a terminal, or from a script",
    description:
      "On a terminal this is a chat. Between other programs, every line of the input is a message, and every message " +
      "that arrives is a line of the output; everything else goes to the error output.",
    sections: [
      { heading: "Keys in the chat", entries: CHAT_KEYS },
      {
        heading: "In the chat",
        entries: Object.entries(CHAT_COMMANDS).map(([name, command]) => [usageOf(name), command.help]),
      },
      { heading: "Exit status", entries: EXIT_STATUSES.map(([status, meaning]) => [String(status), meaning]) },
      { heading: "Files", entries: FILES },
    ],
  });
}
