/** Search in the loaded part of a conversation. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { isIgnored, type Log } from "../state.ts";
import type { Stored } from "../tabs/words.ts";
import { IconButton } from "./parts.tsx";

/** Finds messages; newest first, as those are looked for most. */
export function Search(
  { log, found, onFound, onClose }: {
    log: Log;
    found: number | undefined;
    onFound: (seq: number | undefined) => void;
    onClose: () => void;
  },
): JSX.Element {
  const [query, setQuery] = useState("");
  const ref = useRef<HTMLInputElement>(null);
  useEffect(() => ref.current?.focus(), []);
  const wanted = query.trim().toLocaleLowerCase();
  const isHit = ({ sender, content }: Stored) => !isIgnored(sender) && content.toLocaleLowerCase().includes(wanted);
  const hits = wanted === "" ? [] : log.messages.filter(isHit).map(({ seq }) => seq).reverse();
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
