/** Dialog about the open conversation: members of a group and what may be done with them; ignoring. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { group, watchPeople, wordsOf } from "../actions.ts";
import { parseName } from "../../protocol.ts";
import { go } from "../route.ts";
import * as state from "../state.ts";
import { Avatar, Dialog, Failure } from "./parts.tsx";
import { statusOf } from "./status.ts";

/** Tells about the conversation with `other`. */
export function Details({ with: other, onClose }: { with: string; onClose: () => void }): JSX.Element {
  return (
    <Dialog title={other} onClose={onClose}>
      {state.isGroup(other) ? <GroupDetails group={other} onClose={onClose} /> : <PersonDetails user={other} />}
    </Dialog>
  );
}

function PersonDetails({ user }: { user: string }): JSX.Element {
  return (
    <>
      <p>{statusOf(user) || "Nothing is known of this person's presence."}</p>
      <IgnoreButton user={user} />
    </>
  );
}

/** Button that begins or ends ignoring somebody. */
export function IgnoreButton({ user }: { user: string }): JSX.Element {
  const { ignored } = state.settings.value;
  const isIgnored = ignored.includes(user);
  const toggle = () => state.choose({ ignored: isIgnored ? ignored.filter((name) => name !== user) : [...ignored, user] });
  return <button type="button" onClick={toggle}>{isIgnored ? `Stop ignoring ${user}` : `Ignore ${user}`}</button>;
}

interface Members {
  readonly owner: string;
  readonly members: readonly string[];
}

function GroupDetails({ group: name, onClose }: { group: string; onClose: () => void }): JSX.Element {
  const [members, setMembers] = useState<Members>();
  const [failure, setFailure] = useState<string>();
  const changes = state.groupChanges.value;
  useEffect(() => {
    group("members", name).then((answer) => {
      setMembers({ owner: answer.owner ?? "", members: answer.members ?? [] });
      watchPeople(answer.members);
    }, (error) => setFailure(wordsOf(error)));
  }, [name, changes]);
  const attempt = (done: Promise<unknown>) => done.then(() => setFailure(undefined), (error) => setFailure(wordsOf(error)));
  const leave = () =>
    attempt(
      group("leave", name).then(() => {
        onClose();
        go(undefined);
      }),
    );
  const isOwner = members?.owner === state.me.value;
  return (
    <>
      <Invite onInvite={(user) => attempt(group("invite", name, { user }))} />
      <Failure id="group-failure" text={failure} />
      <section aria-labelledby="members">
        <h3 id="members">{members ? `${members.members.length} in this group` : "Members"}</h3>
        <ul class="rows">
          {members?.members.map((user) => (
            <li key={user}>
              <Avatar name={user} dot />
              <span class="row-name">
                <bdi>{user}</bdi>
                <span class="sub">{user === members.owner ? "owner" : statusOf(user)}</span>
              </span>
              {isOwner && user !== state.me.value && (
                <button
                  type="button"
                  aria-label={`Remove ${user}`}
                  onClick={() => attempt(group("remove", name, { user }))}
                >
                  Remove
                </button>
              )}
            </li>
          ))}
        </ul>
      </section>
      <button type="button" class="danger" onClick={() => void leave()}>Leave {name}</button>
    </>
  );
}

function Invite({ onInvite }: { onInvite: (user: string) => void }): JSX.Element {
  const [typed, setTyped] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    const user = parseName(typed.trim());
    if (typeof user !== "string") return;
    onInvite(user);
    setTyped("");
  };
  return (
    <form onSubmit={submit} noValidate>
      <label for="invite">Invite somebody</label>
      <span class="field-row">
        <input
          id="invite"
          autocapitalize="none"
          autocomplete="off"
          spellcheck={false}
          placeholder="Their name"
          value={typed}
          onInput={({ currentTarget }) => setTyped(currentTarget.value)}
        />
        <button type="submit" class="primary">Invite</button>
      </span>
    </form>
  );
}
