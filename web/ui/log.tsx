/**
 * The messages of a conversation, and where one stands in them.
 *
 * The browser's own anchoring fails where chats load more, at the top, so it is off: before each change the first row in view
 * is remembered, and after it the view is moved by as much as that row was. At the bottom the view follows. At most
 * {@linkcode ROWS_MAX} messages are in the document; what is loaded beyond that comes back as one scrolls.
 */

import { Component, createRef, type JSX } from "preact";
import { loadOlder, markRead, reloadOpen } from "../actions.ts";
import type { Log } from "../state.ts";
import type { Connection, Marks, Stored, Waiting } from "../tabs/words.ts";
import { dayOf } from "../text.ts";
import { Icon } from "./icons.tsx";
import { type Found, type Line, linesOf } from "./rows.ts";
import { Row } from "./row.tsx";

/** Messages in the document. */
const ROWS_MAX = 400;
/** Messages at first, and that come back at once. */
const ROWS_FIRST = 100, ROWS_STEP = 40;
/** Screens from an end within which more is loaded: so early that one seldom gets there. */
const AHEAD_SCREENS = 2;
/** Pixels from the bottom that still are the bottom. */
const BOTTOM_PX = 30;
/** Pixels of a row that have to be in view for it to be seen. */
const SEEN_PX = 40;

/** Values that a log is made of. */
export interface LogProps {
  readonly log: Log;
  readonly me: string;
  readonly isGroup: boolean;
  readonly waiting: readonly Waiting[];
  readonly marks: Marks | undefined;
  readonly phase: Connection["phase"];
  readonly unread: number;
  readonly isSeen: boolean;
  /** A message to be shown in the middle. */
  readonly found: Found | undefined;
  /** Number of messages that were written here: with each, the view goes to the end. */
  readonly sent: number;
  readonly typing: string;
  readonly isIgnored: (user: string) => boolean;
}

interface Anchor {
  readonly key: string;
  readonly top: number;
}

/** The log of one conversation: use the conversation as its key. */
export class LogView extends Component<LogProps, { isFollowing: boolean }> {
  override state = { isFollowing: true };

  readonly #scroller = createRef<HTMLDivElement>();
  readonly #content = createRef<HTMLDivElement>();
  /** Positions of the first and the last message in the document. */
  #low: number | undefined;
  #high = Infinity;
  /** The view was put where it begins; from then on the person moves it. */
  #isPlaced = false;
  #isFollowing = true;
  /** The view's place when it was last looked at: one further up is where the person has gone since. */
  #top = 0;
  #anchor: Anchor | undefined;
  #resizes: ResizeObserver | undefined;
  #frame = 0;

  /** Goes to the newest message. */
  #goToEnd(): void {
    this.#low = undefined;
    this.#high = Infinity;
    this.#top = 0;
    this.#follow(true);
    this.forceUpdate();
  }

  override componentDidMount(): void {
    this.#resizes = new ResizeObserver(() => {
      this.#noticeMove();
      this.#settle(this.#anchor);
    });
    this.#resizes.observe(this.#scroller.current!);
    this.#resizes.observe(this.#content.current!);
    this.#afterUpdate(undefined);
  }

  override componentWillUnmount(): void {
    this.#resizes?.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  override getSnapshotBeforeUpdate(): Anchor | undefined {
    this.#noticeMove();
    return this.#findAnchor();
  }

  override componentDidUpdate(before: LogProps, _: unknown, anchor: Anchor | undefined): void {
    const { found, sent } = this.props;
    if (sent !== before.sent) return this.#goToEnd();
    if (found !== undefined && found !== before.found) return this.#showFound(found);
    this.#afterUpdate(anchor);
  }

  #afterUpdate(anchor: Anchor | undefined): void {
    if (!this.#isPlaced) this.#place();
    else this.#settle(anchor);
    this.#schedule();
  }

  // ---- The part in the document ----

  /** Returns the messages that are in the document. */
  #part(): readonly Stored[] {
    const { messages } = this.props.log;
    if (messages.length === 0) return messages;
    let to = this.#high === Infinity ? messages.length : indexAfter(messages, this.#high);
    let from = this.#low === undefined ? Math.max(0, to - ROWS_FIRST) : indexAfter(messages, this.#low - 1);
    if (to - from > ROWS_MAX) {
      if (this.#isFollowing) from = to - ROWS_FIRST;
      else to = from + ROWS_MAX;
    }
    this.#low = messages[from]?.seq;
    this.#high = to === messages.length ? Infinity : messages[to - 1]!.seq;
    return messages.slice(from, to);
  }

  /** Brings back older messages, or loads them. */
  readonly #showOlder = (): void => {
    const { log } = this.props;
    const from = this.#low === undefined ? 0 : indexAfter(log.messages, this.#low - 1);
    if (from === 0) return void loadOlder();
    this.#low = log.messages[Math.max(0, from - ROWS_STEP)]!.seq;
    this.#isFollowing = false;
    this.forceUpdate();
  };

  /** Brings back newer messages, and leaves away as many older ones. */
  #showNewer(): void {
    const { messages } = this.props.log;
    const to = Math.min(messages.length, indexAfter(messages, this.#high) + ROWS_STEP);
    const from = Math.max(indexAfter(messages, (this.#low ?? 0) - 1), to - ROWS_MAX);
    this.#low = messages[from]!.seq;
    this.#high = to === messages.length ? Infinity : messages[to - 1]!.seq;
    this.forceUpdate();
  }

  #showFound(found: Found): void {
    const { messages } = this.props.log;
    this.#follow(false);
    if (this.#foundRow(found)) return this.#center(found);
    if (typeof found === "string") { // what waits is at the end
      this.#low = undefined;
      this.#high = Infinity;
    } else {
      const index = indexAfter(messages, found) - 1;
      this.#low = messages[Math.max(0, index - ROWS_STEP)]!.seq;
      const last = Math.min(messages.length, index + ROWS_STEP);
      this.#high = last === messages.length ? Infinity : messages[last - 1]!.seq;
    }
    this.forceUpdate(() => this.#center(found));
  }

  #foundRow(found: Found): Element | null | undefined {
    return typeof found === "string" ? this.#row(found) : this.#scroller.current?.querySelector(`[data-seq="${found}"]`);
  }

  #center(found: Found): void {
    this.#foundRow(found)?.scrollIntoView({ block: "center" });
    this.#anchor = this.#findAnchor();
    this.#top = this.#scroller.current?.scrollTop ?? 0;
    this.#schedule();
  }

  // ---- The view ----

  /** Puts the view where a conversation begins: at what is new, else at the end. */
  #place(): void {
    const { log } = this.props;
    const scroller = this.#scroller.current!;
    const line = scroller.querySelector<HTMLElement>(".new-line");
    scroller.scrollTop = scroller.scrollHeight;
    if (line) {
      const above = scroller.getBoundingClientRect().top + scroller.clientHeight / 4;
      scroller.scrollTop += Math.min(0, line.getBoundingClientRect().top - above);
    }
    this.#follow(this.#isAtBottom());
    this.#anchor = this.#findAnchor();
    this.#top = scroller.scrollTop;
    this.#isPlaced = log.isLoaded;
  }

  /** Keeps the view: at the bottom where it follows, else at the row that was first. */
  #settle(anchor: Anchor | undefined): void {
    const scroller = this.#scroller.current!;
    if (this.#isFollowing) scroller.scrollTop = scroller.scrollHeight;
    else if (anchor) {
      const row = this.#row(anchor.key);
      if (row) {
        const moved = row.getBoundingClientRect().top - scroller.getBoundingClientRect().top - anchor.top;
        if (moved !== 0) scroller.scrollTop += moved;
      }
    }
    this.#anchor = this.#findAnchor();
    this.#top = scroller.scrollTop;
  }

  /**
   * Lets the view go where the person has moved it up: the browser tells of that only with the next frame, and a change before it
   * would take the view back to the bottom. A view that is further up because there is less below it has not been moved.
   */
  #noticeMove(): void {
    if (this.#scroller.current!.scrollTop >= this.#top || this.#isAtBottom()) return;
    this.#isPlaced = true;
    this.#follow(false);
  }

  #findAnchor(): Anchor | undefined {
    const scroller = this.#scroller.current;
    if (!scroller) return undefined;
    const edge = scroller.getBoundingClientRect().top;
    for (const row of scroller.querySelectorAll<HTMLElement>("[data-key]")) {
      const { top, bottom } = row.getBoundingClientRect();
      if (bottom > edge) return { key: row.dataset.key!, top: top - edge };
    }
    return undefined;
  }

  #row(key: string): HTMLElement | null {
    return this.#scroller.current!.querySelector(`[data-key="${CSS.escape(key)}"]`);
  }

  #isAtBottom(): boolean {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller.current!;
    return this.#high === Infinity && scrollHeight - scrollTop - clientHeight <= BOTTOM_PX;
  }

  #follow(isFollowing: boolean): void {
    this.#isFollowing = isFollowing;
    if (isFollowing !== this.state.isFollowing) this.setState({ isFollowing });
  }

  readonly #scrolled = (): void => {
    this.#noticeMove();
    this.#anchor = this.#findAnchor();
    this.#top = this.#scroller.current!.scrollTop;
    this.#follow(this.#isAtBottom());
    this.#schedule();
  };

  #schedule(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      this.#loadAhead();
      this.#seeRows();
    });
  }

  #loadAhead(): void {
    const scroller = this.#scroller.current, { log } = this.props;
    if (!scroller || !this.#isPlaced || log.isLoading || log.error !== undefined) return;
    const { scrollTop, scrollHeight, clientHeight } = scroller;
    const ahead = clientHeight * AHEAD_SCREENS;
    if (scrollTop < ahead && (log.hasMore || this.#low !== log.messages[0]?.seq)) this.#showOlder();
    else if (this.#high !== Infinity && scrollHeight - scrollTop - clientHeight < ahead) this.#showNewer();
  }

  /** Tells what was seen: what is in view of somebody who looks. */
  #seeRows(): void {
    const scroller = this.#scroller.current, { log, isSeen, isIgnored } = this.props;
    if (!scroller || !isSeen || document.querySelector("dialog[open]")) return;
    const edge = scroller.getBoundingClientRect().bottom;
    const rows = [...scroller.querySelectorAll<HTMLElement>("[data-seq]")];
    const row = rows.findLast((row) => {
      const { top, height } = row.getBoundingClientRect();
      return top + Math.min(height, SEEN_PX) <= edge + 1;
    });
    if (row) markRead(log.with, Number(row.dataset.seq));
    // Messages of ignored people are below it: nothing else would ever count them as read.
    const newest = log.messages.at(-1);
    if (row === rows.at(-1) && this.#high === Infinity && newest && isIgnored(newest.sender)) {
      markRead(log.with, newest.seq, true);
    }
  }

  // ---- The document ----

  override render(): JSX.Element {
    const { log, me, isGroup, marks, phase, found, isIgnored, typing, unread } = this.props;
    const messages = this.#part();
    const waiting = this.#high === Infinity ? this.props.waiting : [];
    const lines = linesOf({
      me,
      isGroup,
      messages,
      waiting,
      marks,
      newAfter: log.newAfter,
      connection: phase,
      found,
      isIgnored,
    });
    const isOlder = log.messages.length > 0 && (log.hasMore || this.#low !== log.messages[0]!.seq);
    return (
      <div class="log-frame">
        <div
          class="log"
          ref={this.#scroller}
          role="log"
          aria-live="off"
          aria-label={`Messages with ${log.with}`}
          tabIndex={0}
          onScroll={this.#scrolled}
        >
          <div class="log-content" ref={this.#content}>
            <div class="log-start">
              {isOlder && (
                <button type="button" class="older" onClick={this.#showOlder} aria-disabled={log.isLoading}>
                  {log.isLoading ? "Loading …" : "Show older messages"}
                </button>
              )}
              {!isOlder && log.isLoaded && <p class="hint">{beginning(log, isGroup)}</p>}
              {log.error !== undefined && <LogError error={log.error} isLoaded={log.isLoaded} />}
            </div>
            {lines.map(toLine)}
            <p class="typing">{typing}</p>
          </div>
        </div>
        {!this.state.isFollowing && (
          <button type="button" class="to-end" onClick={() => this.#goToEnd()}>
            {unread > 0 ? `${unread} new` : <span class="unseen">Go to the newest message</span>}
            <Icon name="down" small />
          </button>
        )}
      </div>
    );
  }
}

function beginning(log: Log, isGroup: boolean): string {
  if (log.messages.length > 0) return "This is where it begins.";
  return isGroup ? "Nothing was written here yet." : `Write the first message to ${log.with}.`;
}

function LogError({ error, isLoaded }: { error: string; isLoaded: boolean }): JSX.Element {
  return (
    <p class="hint" role="alert">
      {error} <button type="button" class="link" onClick={() => void (isLoaded ? loadOlder() : reloadOpen())}>Try again</button>
    </p>
  );
}

function toLine(line: Line): JSX.Element {
  switch (line.line) {
    case "day":
      return (
        <h3 class="day" key={line.key}>
          <span>{dayOf(line.ts)}</span>
        </h3>
      );
    case "new":
      return (
        <p class="new-line" key="new">
          <span>New</span>
        </p>
      );
    case "message": {
      const { line: _, ...row } = line;
      return <Row key={row.id} {...row} />;
    }
  }
}

/** Returns the index of the first message after a position. */
function indexAfter(messages: readonly Stored[], seq: number): number {
  let low = 0, high = messages.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (messages[middle]!.seq <= seq) low = middle + 1;
    else high = middle;
  }
  return low;
}
