/** The conversations: newest first, with what is unread. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { addressOf } from "../route.ts";
import * as state from "../state.ts";
import { oneLine, shortTimeOf } from "../text.ts";
import { NewDialog } from "./new.tsx";
import { Avatar, IconButton } from "./parts.tsx";
import { SettingsDialog } from "./settings.tsx";

/** Count that stands for all above it. */
const UNREAD_SHOWN = 99;

/** The list with its head. */
export function List(): JSX.Element {
  const [dialog, setDialog] = useState<"new" | "settings">();
  const close = () => setDialog(undefined);
  const entries = state.listed.value;
  return (
    <nav class="list" aria-label="Conversations">
      <header class="bar">
        <h1 class="wordmark">Parley</h1>
        <IconButton icon="plus" name="New conversation or group" onClick={() => setDialog("new")} />
        <IconButton icon="settings" name="Settings" onClick={() => setDialog("settings")} />
      </header>
      {entries.length === 0
        ? (
          <div class="empty">
            <p>No conversations yet.</p>
            <button type="button" class="primary" onClick={() => setDialog("new")}>Write to somebody</button>
          </div>
        )
        : <ul>{entries.map((entry) => <Entry key={entry.with} entry={entry} />)}</ul>}
      <footer class="self">
        <Avatar name={state.me.value} />
        <span class="self-name">
          <bdi>{state.me.value}</bdi>
          <span class="sub">{selfStatus()}</span>
        </span>
      </footer>
      {dialog === "new" && <NewDialog onClose={close} />}
      {dialog === "settings" && <SettingsDialog onClose={close} />}
    </nav>
  );
}

function selfStatus(): string {
  const { phase } = state.connection.value;
  if (phase === "online") return state.isAway.value ? "away" : "online";
  return phase === "connecting" ? "connecting …" : "offline";
}

function Entry({ entry }: { entry: state.Conversation }): JSX.Element {
  const { with: other, last, unread } = entry;
  const isOpen = state.current.value === other;
  const count = state.isIgnored(other) ? 0 : unread;
  void state.minute.value;
  return (
    <li>
      <a href={addressOf(other)} aria-current={isOpen ? "page" : undefined} class={count > 0 ? "entry unread" : "entry"}>
        <Avatar name={other} dot />
        <span class="entry-name">
          <bdi>{other}</bdi>
        </span>
        {last && <time class="entry-time" dateTime={last.ts}>{shortTimeOf(last.ts)}</time>}
        <span class="entry-last">
          <Preview entry={entry} />
        </span>
        {count > 0 && (
          <span class="badge">
            {count > UNREAD_SHOWN ? `${UNREAD_SHOWN}+` : count}
            <span class="unseen">unread</span>
          </span>
        )}
      </a>
    </li>
  );
}

/** Line of the list under a name: who types, a draft, what waits, or the newest message. */
function Preview({ entry: { with: other, last } }: { entry: state.Conversation }): JSX.Element {
  const typists = state.typists.value.get(other) ?? [];
  if (typists.length > 0) return <em>typing …</em>;
  if (state.drafted.value.has(other) && state.current.value !== other) return <em class="draft">Draft</em>;
  const mine = state.waiting.value.findLast(({ recipient }) => recipient === other);
  if (mine?.isRefused) return <em class="wrong">Not sent</em>;
  if (mine) return <>You: {oneLine(mine.content)}</>;
  if (state.isIgnored(other)) return <em>ignored</em>;
  if (!last) return <em>{state.isGroup(other) ? "No messages yet" : "Nothing written yet"}</em>;
  if (state.isIgnored(last.sender)) return <em>a message of somebody you ignore</em>;
  const who = last.sender === state.me.value ? "You: " : state.isGroup(other) ? `${last.sender}: ` : "";
  return <bdi>{who}{oneLine(last.content)}</bdi>;
}
