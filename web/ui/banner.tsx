/** One line above everything, where the connection or the page needs words; it asks for another token in place. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { answerOffer, reconnect, renewToken } from "../actions.ts";
import { connection, isOutdated, me, offered } from "../state.ts";
import type { Connection } from "../tabs/words.ts";
import { Failure } from "./parts.tsx";

/** Milliseconds that a connection may take before anything is said of it: most take less, and a flash helps nobody. */
const PATIENCE_MS = 1_500;
/** Close code of a device that connected elsewhere. */
const REPLACED = 4009;

/** Tells what is wrong with the connection, or that there is a newer page. */
export function Banner(): JSX.Element {
  const state = connection.value;
  const isLate = useLateness(state);
  return (
    <div class="banners" role="status">
      {state.phase === "token" ? <TokenForm reason={state.reason} /> : isLate && <ConnectionLine state={state} />}
      {offered.value && (
        <p class="banner">
          <span>
            That link is for <bdi>{offered.value.user}</bdi>, and here you are <bdi>{me.value}</bdi>.
          </span>
          <button type="button" onClick={() => answerOffer(true)}>Go on as {offered.value.user}</button>
          <button type="button" onClick={() => answerOffer(false)}>Stay {me.value}</button>
        </p>
      )}
      {isOutdated.value && (
        <p class="banner">
          <span>There is a newer version of this page. What you have typed stays.</span>
          <button type="button" onClick={() => location.reload()}>Reload</button>
        </p>
      )}
    </div>
  );
}

/** Returns whether there has been no connection for longer than one needs. */
function useLateness({ phase }: Connection): boolean {
  const [isLate, setLate] = useState(false);
  const isOnline = phase === "online";
  useEffect(() => {
    setLate(false);
    if (isOnline) return;
    const timer = setTimeout(() => setLate(true), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [isOnline]);
  return !isOnline && (isLate || phase === "closed");
}

function ConnectionLine({ state }: { state: Connection }): JSX.Element | null {
  switch (state.phase) {
    case "connecting":
      return (
        <p class="banner">
          <span>Connecting …</span>
        </p>
      );
    case "waiting":
      return (
        <p class="banner">
          <span>{state.reason}. What you write is sent when there is a connection again.</span>
          <button type="button" onClick={reconnect}>Try now</button>
        </p>
      );
    case "closed":
      return (
        <p class="banner wrong">
          <span>
            {state.code === REPLACED ? "This device is connected from elsewhere" : state.reason}
          </span>
          <button type="button" onClick={reconnect}>{state.code === REPLACED ? "Use it here" : "Try again"}</button>
        </p>
      );
    default:
      return null;
  }
}

function TokenForm({ reason }: { reason: string }): JSX.Element {
  const [typed, setTyped] = useState("");
  const [failure, setFailure] = useState<string>();
  const submit = (event: Event) => {
    event.preventDefault();
    const wrong = renewToken(typed);
    setFailure(wrong);
    if (wrong === undefined) setTyped("");
  };
  return (
    <form class="banner wrong" onSubmit={submit} noValidate>
      <label for="new-token">{reason.replace(/\.?$/, ".")} Paste a new token to go on; nothing you wrote is lost.</label>
      <span class="token-row">
        <input
          id="new-token"
          type="password"
          autocomplete="off"
          spellcheck={false}
          aria-describedby="new-token-failure"
          value={typed}
          onInput={({ currentTarget }) => setTyped(currentTarget.value)}
        />
        <button type="submit">Go on</button>
      </span>
      <Failure id="new-token-failure" text={failure} />
    </form>
  );
}
