/** Search in the loaded part of a conversation. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { isIgnored, type Log } from "../state.ts";
import type { Waiting } from "../tabs/words.ts";
import { IconButton } from "./parts.tsx";
import type { Found } from "./rows.ts";

/** Finds messages; newest first, as those are looked for most. */
export function Search(
  { log, waiting, found, onFound, onClose }: {
    log: Log;
    waiting: readonly Waiting[];
    found: Found | undefined;
    onFound: (found: Found | undefined) => void;
    onClose: () => void;
  },
): JSX.Element {
  const [query, setQuery] = useState("");
  const ref = useRef<HTMLInputElement>(null);
  useEffect(() => ref.current?.focus(), []);
  const wanted = query.trim().toLocaleLowerCase();
  const isHit = ({ content }: { content: string }) => wanted !== "" && content.toLocaleLowerCase().includes(wanted);
  const shown = log.messages.filter((message) => !isIgnored(message.sender) && isHit(message)).map(({ seq }) => seq);
  const hits: Found[] = [...shown, ...waiting.filter(isHit).map(({ id }) => id)].reverse();
  const index = found === undefined ? -1 : hits.indexOf(found);
  const step = (by: number) => hits.length > 0 && onFound(hits[(index + by + hits.length) % hits.length]);
  return (
    <form
      class="search"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        step(1);
      }}
      onKeyDown={(event) => event.key === "Escape" && onClose()}
    >
      <label class="unseen" for="search">Search in what is loaded</label>
      <input
        id="search"
        ref={ref}
        type="search"
        autocomplete="off"
        placeholder="Search in what is loaded"
        value={query}
        onInput={({ currentTarget }) => {
          setQuery(currentTarget.value);
          onFound(undefined);
        }}
      />
      <output class="sub">{wanted === "" ? "" : hits.length === 0 ? "Nothing" : `${index + 1} of ${hits.length}`}</output>
      <IconButton icon="up" name="Older" onClick={() => step(1)} />
      <IconButton icon="down" name="Newer" onClick={() => step(-1)} />
      <IconButton icon="close" name="Close the search" onClick={onClose} />
    </form>
  );
}
