/** The field that messages are written in. */

import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { send, tellTyping } from "../actions.ts";
import { draftOf, keepDraft } from "../drafts.ts";
import { drafted, settings } from "../state.ts";
import { Icon } from "./icons.tsx";
import { Failure } from "./parts.tsx";

/** Code of a key that an input method has used up: Safari says so after the composition has ended already. */
const USED_UP = 229;
const COARSE = matchMedia("(pointer: coarse)");

/** Returns whether the Enter key sends, or begins a line. */
function enterSends(): boolean {
  const { enter } = settings.value;
  return enter === "send" || enter === "auto" && !COARSE.matches;
}

/** Writes to one conversation: use the conversation as its key. */
export function Composer({ with: other, onSent }: { with: string; onSent: () => void }): JSX.Element {
  const ref = useRef<HTMLTextAreaElement>(null);
  const isComposing = useRef(false);
  const [isEmpty, setEmpty] = useState(true);
  const [failure, setFailure] = useState<string>();

  useLayoutEffect(() => {
    const field = ref.current!, draft = draftOf(other);
    if (draft) {
      field.value = draft.text;
      field.setSelectionRange(draft.start, draft.end);
    }
    changed();
    const moved = () => document.activeElement === field && field.value !== "" && remember();
    document.addEventListener("selectionchange", moved);
    return () => document.removeEventListener("selectionchange", moved);
  }, [other]);

  const changed = () => {
    const field = ref.current!;
    setEmpty(field.value.trim() === "");
    fit(field);
  };
  const remember = () => {
    if (!ref.current) return; // events of the field may come after it
    const { value: text, selectionStart: start, selectionEnd: end } = ref.current;
    keepDraft(other, { text, start, end });
  };
  // Of a draft that is gone, because another tab or an earlier message was sent, what stands here is kept again.
  const isKept = drafted.value.has(other);
  useLayoutEffect(() => {
    if (!isKept && ref.current!.value !== "") remember();
  }, [isKept]);
  const submit = () => {
    const field = ref.current!, text = field.value.replace(/^\s*\n/, "").trimEnd(); // the first line may be indented
    if (text === "") return;
    const wrong = send(other, text);
    setFailure(wrong);
    if (wrong !== undefined) return;
    field.value = "";
    changed();
    onSent();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.altKey) return;
    if (event.isComposing || isComposing.current || event.keyCode === USED_UP) return;
    if (!event.ctrlKey && !event.metaKey && !enterSends()) return;
    event.preventDefault();
    submit();
  };
  const onInput = () => {
    changed();
    remember();
    setFailure(undefined);
    if (ref.current!.value !== "") tellTyping(other);
  };
  return (
    <form
      class="composer"
      aria-label="New message"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <div class="composer-field">
        <label class="unseen" for="message">Message to {other}</label>
        <textarea
          id="message"
          ref={ref}
          rows={1}
          dir="auto"
          placeholder={`Message ${other}`}
          enterkeyhint={enterSends() ? "send" : "enter"}
          aria-describedby="message-failure"
          onInput={onInput}
          onKeyDown={onKeyDown}
          onCompositionStart={() => isComposing.current = true}
          onCompositionEnd={() => isComposing.current = false}
          onBlur={() => isComposing.current = false}
        />
        <button type="submit" class="send" aria-label="Send" title="Send" disabled={isEmpty} onMouseDown={keepFocus}>
          <Icon name="send" />
        </button>
      </div>
      <Failure id="message-failure" text={failure} />
    </form>
  );
}

/** Keeps the focus in the field, and so the keyboard of a phone on the screen. */
function keepFocus(event: Event): void {
  event.preventDefault();
}

/** Makes the field as high as its text, where the browser does not. */
function fit(field: HTMLTextAreaElement): void {
  if (CSS.supports("field-sizing", "content")) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}
