/** Dialog of choices: what the page does for its person, in this browser. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { setAway, signOut } from "../actions.ts";
import { allowNotifications, canNotify } from "../notify.ts";
import { IS_SECURE } from "../place.ts";
import * as state from "../state.ts";
import { IgnoreButton } from "./details.tsx";
import { InsecureNote } from "./login.tsx";
import { Dialog, Failure } from "./parts.tsx";

/** Shows all choices, and how to leave. */
export function SettingsDialog({ onClose }: { onClose: () => void }): JSX.Element {
  const [isLeaving, setLeaving] = useState(false);
  const { receipts, enter, theme, ignored } = state.settings.value;
  return (
    <Dialog title="Settings" onClose={onClose}>
      <Check label="Away" hint="Others see that you do not look here." isOn={state.isAway.value} onChange={setAway} />
      <Check
        label="Tell others what I have read"
        hint="When this is off, you still see what they tell you."
        isOn={receipts}
        onChange={(on) => state.choose({ receipts: on })}
      />
      <Notifications />
      <Choice
        label="The Enter key"
        value={enter}
        options={{ auto: "sends, except on touch screens", send: "always sends", line: "always begins a line" }}
        onChange={(value) => state.choose({ enter: value })}
      />
      <p class="hint">Ctrl+Enter always sends, and Shift+Enter always begins a line.</p>
      <Choice
        label="Colours"
        value={theme}
        options={{ auto: "as this device has them", light: "light", dark: "dark" }}
        onChange={(value) => state.choose({ theme: value })}
      />
      {ignored.length > 0 && (
        <section aria-labelledby="ignored">
          <h3 id="ignored">People you ignore</h3>
          <ul class="rows">
            {ignored.map((user) => (
              <li key={user}>
                <IgnoreButton user={user} />
              </li>
            ))}
          </ul>
        </section>
      )}
      {!IS_SECURE && <InsecureNote />}
      <section class="leave">
        {isLeaving
          ? (
            <>
              <p>{leavingWords(state.waiting.value.length)}</p>
              <span class="field-row">
                <button type="button" class="danger" onClick={() => void signOut()}>Sign out and erase</button>
                <button type="button" onClick={() => setLeaving(false)}>Stay</button>
              </span>
            </>
          )
          : <button type="button" class="danger" onClick={() => setLeaving(true)}>Sign out</button>}
      </section>
    </Dialog>
  );
}

function leavingWords(waiting: number): string {
  const lost = waiting === 0
    ? ""
    : waiting === 1
    ? " One message that was not sent is lost."
    : ` ${waiting} messages that were not sent are lost.`;
  return `This erases what this browser kept, drafts too. Your messages stay on the server.${lost}`;
}

function Notifications(): JSX.Element | null {
  const [failure, setFailure] = useState<string>();
  if (!canNotify()) return null;
  const isOn = state.settings.value.notify && Notification.permission === "granted";
  const change = async (on: boolean) => {
    if (!on) return state.choose({ notify: false });
    setFailure(await allowNotifications());
  };
  return (
    <>
      <Check label="Notify me" hint="Of messages that you are not looking at." isOn={isOn} onChange={(on) => void change(on)} />
      <Failure id="notify-failure" text={failure} />
    </>
  );
}

function Check(
  { label, hint, isOn, onChange }: { label: string; hint: string; isOn: boolean; onChange: (on: boolean) => void },
): JSX.Element {
  return (
    <label class="check">
      <input type="checkbox" role="switch" checked={isOn} onChange={({ currentTarget }) => onChange(currentTarget.checked)} />
      <span>
        {label}
        <span class="sub">{hint}</span>
      </span>
    </label>
  );
}

function Choice<T extends string>(
  { label, value, options, onChange }: {
    label: string;
    value: T;
    options: Readonly<Record<T, string>>;
    onChange: (value: T) => void;
  },
): JSX.Element {
  return (
    <label class="choice">
      <span>{label}</span>
      <select value={value} onChange={({ currentTarget }) => onChange(currentTarget.value as T)}>
        {Object.entries(options).map(([key, words]) => <option key={key} value={key}>{words as string}</option>)}
      </select>
    </label>
  );
}
