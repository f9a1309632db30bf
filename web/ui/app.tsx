/** The whole page. */

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import type { Account } from "../account.ts";
import { account, current, me, notice } from "../state.ts";
import { Banner } from "./banner.tsx";
import { ConversationView } from "./conversation.tsx";
import { List } from "./list.tsx";
import { Login } from "./login.tsx";

/** Milliseconds that a sentence for a moment stays. */
const NOTICE_MS = 6_000;

/** Asks who somebody is, and then shows their conversations. */
export function App({ onAccount }: { onAccount: (account: Account) => void }): JSX.Element {
  if (!account.value) return <Login onAccount={onAccount} />;
  const open = current.value;
  return (
    <div class={open === undefined ? "app" : "app is-open"}>
      <Banner />
      <div class="panes">
        <List />
        {open === undefined ? <Nobody /> : <ConversationView key={open} with={open} />}
      </div>
      <Notice />
    </div>
  );
}

function Nobody(): JSX.Element {
  return (
    <main class="conversation nobody">
      <p class="wordmark" aria-hidden="true">Parley</p>
      <p class="hint">
        Choose a conversation, or begin one. You are <bdi>{me.value}</bdi>.
      </p>
    </main>
  );
}

function Notice(): JSX.Element {
  const text = notice.value;
  useEffect(() => {
    if (text === "") return;
    const timer = setTimeout(() => notice.value = "", NOTICE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return <div class="notice" role="status">{text !== "" && <p>{text}</p>}</div>;
}
