/** The first thing that anybody sees: who are you? */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { type Account, accountOf, WANTS_TOKEN } from "../account.ts";
import { IS_SECURE } from "../place.ts";
import { Failure } from "./parts.tsx";

/** Asks for a name or a token. */
export function Login({ onAccount }: { onAccount: (account: Account) => void }): JSX.Element {
  const [typed, setTyped] = useState("");
  const [failure, setFailure] = useState<string>();
  const submit = (event: Event) => {
    event.preventDefault();
    const given = accountOf(typed);
    if (typeof given === "string") setFailure(given);
    else onAccount(given);
  };
  return (
    <main class="login">
      <form onSubmit={submit} noValidate>
        <p class="wordmark" aria-hidden="true">Parley</p>
        <h1>{WANTS_TOKEN ? "Sign in to talk" : "Say who you are, and talk"}</h1>
        <label for="who">{WANTS_TOKEN ? "Token" : "Name"}</label>
        <TokenOrName value={typed} isWrong={failure !== undefined} onInput={setTyped} />
        <p class="hint" id="who-hint">
          {WANTS_TOKEN
            ? "Whoever runs this server gives you one. It is a long line that begins with eyJ."
            : "Letters and digits. Others write to you by it; upper and lower case are the same."}
        </p>
        <Failure id="who-failure" text={failure} />
        <button type="submit" class="primary">{WANTS_TOKEN ? "Sign in" : "Start talking"}</button>
        {!IS_SECURE && <InsecureNote />}
      </form>
    </main>
  );
}

function TokenOrName(
  { value, isWrong, onInput }: { value: string; isWrong: boolean; onInput: (value: string) => void },
): JSX.Element {
  return (
    <input
      id="who"
      {...WANTS_TOKEN ? { type: "password" as const } : { type: "text" as const }}
      autocomplete={WANTS_TOKEN ? "current-password" : "username"}
      autocapitalize="none"
      autocorrect="off"
      spellcheck={false}
      autoFocus
      aria-describedby="who-hint who-failure"
      aria-invalid={isWrong}
      value={value}
      onInput={({ currentTarget }) => onInput(currentTarget.value)}
    />
  );
}

/** Says what is missing over plain http. */
export function InsecureNote(): JSX.Element {
  return (
    <p class="hint note">
      This page came over plain http, so the browser gives it no notifications, no installing and no working offline, and every
      tab is a device of its own. Over https all of that is there.
    </p>
  );
}
