/** Small parts that stand in many places. */

import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { isGroup } from "../../protocol.ts";
import { presence } from "../state.ts";
import { hueOf } from "../text.ts";
import { Icon, type IconName } from "./icons.tsx";

/** A circle with a person's letter, or a rounded square for a group; with a dot where the person is there. */
export function Avatar({ name, dot = false }: { name: string; dot?: boolean }): JSX.Element {
  const status = dot ? presence.value.get(name)?.status : undefined;
  const letter = isGroup(name) ? "#" : [...name][0]!.toLocaleUpperCase();
  return (
    <span class={`avatar hue-${hueOf(name)}${isGroup(name) ? " group" : ""}`} aria-hidden="true">
      {letter}
      {status && status !== "offline" && <span class={`dot ${status}`} />}
    </span>
  );
}

/** A button with an icon and a name for those who do not see it. */
export function IconButton(
  { icon, name, onClick, class: more = "", ...rest }: {
    icon: IconName;
    name: string;
    onClick: () => void;
    class?: string;
    "aria-expanded"?: boolean;
  },
): JSX.Element {
  return (
    <button type="button" class={`icon-button ${more}`} aria-label={name} title={name} onClick={onClick} {...rest}>
      <Icon name={icon} />
    </button>
  );
}

/** A dialog over the page. The browser keeps the focus in it and gives it back. */
export function Dialog(
  { title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren },
): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  // Ends before the dialog is taken out of the document: the focus would be nowhere for a moment.
  useLayoutEffect(() => {
    const dialog = ref.current!, before = document.activeElement;
    dialog.showModal();
    return () => {
      dialog.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  // A click is also what ends outside a selection that began in a field.
  const isBegun = useRef(false);
  const begin = (event: MouseEvent) => void (isBegun.current = event.target === ref.current);
  const closeOutside = (event: MouseEvent) => isBegun.current && event.target === ref.current && onClose();
  return (
    <dialog
      ref={ref}
      aria-labelledby="dialog-title"
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      // Browsers may close it without asking: with a second Escape, or the way back of a phone. Not told once it is taken out.
      onClose={() => ref.current && onClose()}
      onMouseDown={begin}
      onClick={closeOutside}
    >
      <div class="dialog">
        <header>
          <h2 id="dialog-title">{title}</h2>
          <IconButton icon="close" name="Close" onClick={onClose} />
        </header>
        {children}
      </div>
    </dialog>
  );
}

/** Words about a failure, read aloud when they come. */
export function Failure({ id, text }: { id: string; text: string | undefined }): JSX.Element {
  return <p class="failure" id={id} role="alert">{text}</p>;
}
