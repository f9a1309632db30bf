/** The open conversation: head, search, log and the field to write in. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ownOf } from "../core.ts";
import { go } from "../route.ts";
import * as state from "../state.ts";
import { Composer } from "./composer.tsx";
import { Details, IgnoreButton } from "./details.tsx";
import { LogView } from "./log.tsx";
import { Avatar, IconButton } from "./parts.tsx";
import type { Found } from "./rows.ts";
import { Search } from "./search.tsx";
import { statusOf } from "./status.ts";

/** Shows a conversation: use it as the key. */
export function ConversationView({ with: other }: { with: string }): JSX.Element {
  const [open, setOpen] = useState<"details" | "search">();
  const [found, setFound] = useState<Found>();
  const [sent, setSent] = useState(0);
  const close = () => {
    setOpen(undefined);
    setFound(undefined);
  };
  const log = state.log.value, waiting = state.waiting.value.filter(({ recipient }) => recipient === other);
  return (
    <main class="conversation">
      <header class="bar">
        <IconButton icon="back" name="Back to the conversations" class="back" onClick={() => go(undefined)} />
        <Avatar name={other} dot />
        <span class="title">
          <h2>
            <bdi>{other}</bdi>
          </h2>
          <span class="sub">{subline(other)}</span>
        </span>
        <IconButton
          icon="search"
          name="Search in what is loaded"
          aria-expanded={open === "search"}
          onClick={() => open === "search" ? close() : setOpen("search")}
        />
        <IconButton
          icon="people"
          name={state.isGroup(other) ? "Members" : "About this person"}
          onClick={() => setOpen("details")}
        />
      </header>
      {open === "search" && log && <Search log={log} waiting={waiting} found={found} onFound={setFound} onClose={close} />}
      {log && (
        <LogView
          log={log}
          me={state.me.value}
          isGroup={state.isGroup(other)}
          waiting={waiting}
          marks={ownOf(state.marks.value, other)}
          phase={state.connection.value.phase}
          unread={state.conversations.value.get(other)?.unread ?? 0}
          isSeen={state.isSeen.value}
          found={found}
          sent={sent}
          typing={typingWords(state.typists.value.get(other) ?? [])}
          isIgnored={state.isIgnored}
        />
      )}
      {state.isIgnored(other) && (
        <p class="ignored">
          You ignore {other}. <IgnoreButton user={other} />
        </p>
      )}
      <Composer with={other} onSent={() => setSent((count) => count + 1)} />
      {open === "details" && <Details with={other} onClose={close} />}
      <Announcer />
    </main>
  );
}

function subline(other: string): string {
  const typists = state.typists.value.get(other) ?? [];
  if (typists.length > 0) return typingWords(typists);
  return state.isGroup(other) ? "Group" : statusOf(other);
}

function typingWords(typists: readonly string[]): string {
  if (typists.length === 0) return "";
  return typists.length === 1 ? `${typists[0]} is typing …` : `${typists.join(", ")} are typing …`;
}

/** Reads new messages aloud. It is there before it says anything: what comes with its text is often not read. */
function Announcer(): JSX.Element {
  const text = state.announcement.value;
  useEffect(() => () => void (state.announcement.value = ""), []);
  return <div class="unseen" role="status" aria-live="polite">{text}</div>;
}
