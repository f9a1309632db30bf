/** Dialog for what begins: a conversation with somebody, a group of one's own, an open group of others. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { group, openGroups, wordsOf } from "../actions.ts";
import { isGroup, parseAddress, parseGroup, type Refusal } from "../../protocol.ts";
import { go } from "../route.ts";
import { conversations, type Group } from "../state.ts";
import { Avatar, Dialog, Failure } from "./parts.tsx";

/** Begins a conversation, or makes or joins a group. */
export function NewDialog({ onClose }: { onClose: () => void }): JSX.Element {
  const enter = (conversation: string) => {
    onClose();
    go(conversation);
  };
  return (
    <Dialog title="New" onClose={onClose}>
      <ToSomebody onDone={enter} />
      <NewGroup onDone={enter} />
      <OpenGroups onDone={enter} />
    </Dialog>
  );
}

function ToSomebody({ onDone }: { onDone: (conversation: string) => void }): JSX.Element {
  const [typed, setTyped] = useState("");
  const [failure, setFailure] = useState<string>();
  const submit = async (event: Event) => {
    event.preventDefault();
    const name = parseAddress(typed.trim(), "name");
    if (typeof name !== "string") return setFailure(wordsOfName(name));
    try {
      if (isGroup(name) && !conversations.value.has(name)) await group("join", name);
      onDone(name);
    } catch (error) {
      setFailure(wordsOf(error));
    }
  };
  return (
    <form onSubmit={submit} noValidate>
      <label for="new-name">Write to somebody</label>
      <span class="field-row">
        <input
          id="new-name"
          autocapitalize="none"
          autocomplete="off"
          spellcheck={false}
          placeholder="Their name, or #group"
          aria-describedby="new-name-failure"
          value={typed}
          onInput={({ currentTarget }) => setTyped(currentTarget.value)}
        />
        <button type="submit" class="primary">Write</button>
      </span>
      <Failure id="new-name-failure" text={failure} />
    </form>
  );
}

function NewGroup({ onDone }: { onDone: (conversation: string) => void }): JSX.Element {
  const [typed, setTyped] = useState("");
  const [isOpen, setOpen] = useState(false);
  const [failure, setFailure] = useState<string>();
  const submit = async (event: Event) => {
    event.preventDefault();
    const name = parseGroup("#" + typed.trim().replace(/^#/, ""));
    if (typeof name !== "string") return setFailure(wordsOfName(name));
    try {
      await group("create", name, { open: isOpen });
      onDone(name);
    } catch (error) {
      setFailure(wordsOf(error));
    }
  };
  return (
    <form onSubmit={submit} noValidate>
      <label for="new-group">Make a group</label>
      <span class="field-row">
        <span class="prefix" aria-hidden="true">#</span>
        <input
          id="new-group"
          autocapitalize="none"
          autocomplete="off"
          spellcheck={false}
          placeholder="Its name"
          aria-describedby="new-group-failure"
          value={typed}
          onInput={({ currentTarget }) => setTyped(currentTarget.value)}
        />
        <button type="submit">Make</button>
      </span>
      <label class="check">
        <input type="checkbox" checked={isOpen} onChange={({ currentTarget }) => setOpen(currentTarget.checked)} />
        Anybody on this server may join
      </label>
      <Failure id="new-group-failure" text={failure} />
    </form>
  );
}

function OpenGroups({ onDone }: { onDone: (conversation: string) => void }): JSX.Element {
  const [groups, setGroups] = useState<readonly Group[]>();
  const [failure, setFailure] = useState<string>();
  useEffect(() => {
    openGroups().then(setGroups, (error) => setFailure(wordsOf(error)));
  }, []);
  const join = (name: string) => group("join", name).then(() => onDone(name), (error) => setFailure(wordsOf(error)));
  return (
    <section aria-labelledby="open-groups">
      <h3 id="open-groups">Join a group</h3>
      {groups?.length === 0 && <p class="hint">There is no open group that you are not in.</p>}
      <ul class="rows">
        {groups?.map(({ group: name, members }) => (
          <li key={name}>
            <Avatar name={name} />
            <span class="row-name">
              <bdi>{name}</bdi>
              <span class="sub">{members === 1 ? "1 member" : `${members} members`}</span>
            </span>
            <button type="button" aria-label={`Join ${name}`} onClick={() => void join(name)}>Join</button>
          </li>
        ))}
      </ul>
      <Failure id="join-failure" text={failure} />
    </section>
  );
}

function wordsOfName({ message }: Refusal): string {
  return message.replace(/^"\w+"/, "A name");
}
