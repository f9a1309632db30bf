/** One message in a conversation. */

import { Component, type JSX } from "preact";
import { drop, retry } from "../actions.ts";
import { fullTimeOf, hueOf, partsOf, timeOf } from "../text.ts";
import { Icon, type IconName } from "./icons.tsx";

/** Characters and lines of a message that are shown before somebody asks for all. */
const SHOWN_CHARS = 3_000, SHOWN_LINES = 40;

/** Progress of an own message. */
export type Mark = "waiting" | "refused" | "sent" | "delivered" | "read";

const MARKS: Record<Mark, { readonly icon: IconName; readonly words: string }> = {
  waiting: { icon: "clock", words: "Waiting to be sent" },
  refused: { icon: "alert", words: "Not sent" },
  sent: { icon: "sent", words: "Sent" },
  delivered: { icon: "double", words: "Delivered" },
  read: { icon: "double", words: "Read" },
};

/** A message to be shown. All members are plain values, so that a row whose members are the same is not made again. */
export interface RowProps {
  readonly id: string;
  /** Undefined for one that waits. */
  readonly seq: number | undefined;
  readonly sender: string;
  readonly content: string;
  readonly ts: string | number;
  readonly isMine: boolean;
  /** Others wrote before it, or a while passed. */
  readonly isFirst: boolean;
  /** Somebody's name stands above the first of several messages. */
  readonly hasName: boolean;
  readonly mark: Mark | undefined;
  /** Names of those who have read it, in groups. */
  readonly readBy: string;
  readonly isFound: boolean;
  /** Reason for which it is not sent. */
  readonly why: string | undefined;
}

/** One message. */
export class Row extends Component<RowProps, { isWhole: boolean }> {
  override state = { isWhole: false };

  override shouldComponentUpdate(next: RowProps, { isWhole }: { isWhole: boolean }): boolean {
    if (isWhole !== this.state.isWhole) return true;
    return (Object.keys(next) as (keyof RowProps)[]).some((key) => next[key] !== this.props[key]);
  }

  override render(): JSX.Element {
    const { id, seq, sender, content, ts, isMine, isFirst, hasName, mark, readBy, isFound, why } = this.props;
    const cut = this.state.isWhole ? content : shorten(content);
    const kind = `row${isMine ? " mine" : ""}${isFirst ? " first" : ""}${isFound ? " found" : ""}`;
    return (
      <div class={kind} data-key={id} data-seq={seq}>
        <div class="bubble">
          <span class={hasName && isFirst ? `who hue-${hueOf(sender)}` : "unseen"}>
            <bdi>{isMine ? "You" : sender}</bdi>
            <span class="unseen">:</span>
          </span>
          <div class="text" dir="auto">{partsOf(cut).map(show)}</div>
          {cut !== content && (
            <button type="button" class="link" onClick={() => this.setState({ isWhole: true })}>
              Show all {content.length.toLocaleString()} characters
            </button>
          )}
          <span class="meta">
            <time dateTime={new Date(ts).toISOString()} title={fullTimeOf(ts)}>{timeOf(ts)}</time>
            {mark && <MarkIcon mark={mark} readBy={readBy} />}
          </span>
        </div>
        {why !== undefined && <NotSent id={id} why={why} isRefused={mark === "refused"} />}
      </div>
    );
  }
}

function MarkIcon({ mark, readBy }: { mark: Mark; readBy: string }): JSX.Element {
  const { icon, words } = MARKS[mark];
  const said = mark === "read" && readBy !== "" ? `Read by ${readBy}` : words;
  return (
    <span class={`mark ${mark}`} title={said}>
      <Icon name={icon} small />
      <span class="unseen">{said}</span>
    </span>
  );
}

/** Says why a message is not sent, and what can be done. */
function NotSent({ id, why, isRefused }: { id: string; why: string; isRefused: boolean }): JSX.Element {
  return (
    <div class={isRefused ? "not-sent wrong" : "not-sent"}>
      <p>{why}</p>
      <button type="button" onClick={() => retry(id)}>Retry</button>
      <button type="button" onClick={() => drop(id)}>Delete</button>
    </div>
  );
}

function show(part: ReturnType<typeof partsOf>[number]): JSX.Element | string {
  if (typeof part === "string") return part;
  // A direction of its own: characters before a link that turn the text would show it as another.
  return <a href={part.link} dir="ltr" target="_blank" rel="noopener noreferrer">{part.text}</a>;
}

function shorten(content: string): string {
  if (content.length > SHOWN_CHARS) content = content.slice(0, SHOWN_CHARS).replace(/[\ud800-\udbff]$/, "") + " …";
  const lines = content.split("\n");
  return lines.length > SHOWN_LINES ? lines.slice(0, SHOWN_LINES).join("\n") + " …" : content;
}
