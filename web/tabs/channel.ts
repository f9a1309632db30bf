/**
 * The tabs of one browser as one device: one leads, with a Web Lock, and has the connection; the others are fed over a
 * BroadcastChannel. When it goes, the next one leads. Where there are no locks each tab leads for itself.
 */

import { IS_SECURE, randomId, SCOPE } from "../place.ts";
import type { Call, Told, Word } from "./words.ts";

/** Milliseconds that a tab which leads has to answer one that people look at, before the lock is taken from it: it is frozen. */
const LEADER_MS = 3_000;

/** Connection, as the tab that leads has it. */
export interface Leading {
  perform(call: Call): Promise<unknown>;
  stop(): Promise<void>;
  /** Stops, and forgets what was to be sent. */
  forget(): Promise<void>;
}

/** Tells what a tab has to be told. */
export interface TabListeners {
  told(told: Told): void;
  /** This tab leads from now on: starts the connection. */
  lead(tell: (told: Told) => void): Promise<Leading>;
  /** Another tab leads from now on: everything may have changed. */
  followed(): void;
  signedOut(): void;
}

/** One tab among those of this browser. */
export class Tab {
  readonly id: string = randomId();
  readonly #listeners: TabListeners;
  /** Name of the lock and of the channel: tabs of one user are one device. */
  readonly #name: string;
  readonly #channel: BroadcastChannel | undefined;
  readonly #calls = new Map<string, { readonly call: Call; readonly promise: PromiseWithResolvers<unknown> }>();
  /** Conversations that are looked at, by tab. */
  readonly #looks = new Map<string, string>();
  #leading: Leading | undefined;
  #letGo: (() => void) | undefined;
  /** This tab led when it was frozen. */
  #hasGivenUp = false;
  #isClosed = false;

  constructor(user: string, listeners: TabListeners) {
    this.#listeners = listeners;
    this.#name = `parley:${SCOPE}:${user}`;
    this.#channel = IS_SECURE ? new BroadcastChannel(this.#name) : undefined;
    if (this.#channel) this.#channel.onmessage = ({ data }) => void this.#heard(data as Word);
  }

  /** Leads, or waits for its turn. */
  start(): void {
    if (!IS_SECURE) return void this.#lead();
    void navigator.locks.request(this.#tabLock(this.id), () => new Promise<void>(() => {}));
    this.#stand(false);
    document.addEventListener("freeze", () => this.#giveUpLead());
    document.addEventListener("resume", () => this.#standAgain());
  }

  /** True where this tab has the connection. */
  get isLeading(): boolean {
    return this.#leading !== undefined;
  }

  /** Has the leading tab do something. Rejects with words for people. */
  async call(call: Call): Promise<unknown> {
    if (this.#leading) return await this.#leading.perform(call);
    const id = randomId();
    const promise = Promise.withResolvers<unknown>();
    this.#calls.set(id, { call, promise });
    this.#post({ word: "call", id, call });
    if (call.do === "look") return await promise.promise;
    // What takes long may wait for the server; whether the tab that leads is there is another question.
    const timer = setTimeout(() => void this.checkLeader(), LEADER_MS);
    return await promise.promise.finally(() => clearTimeout(timer));
  }

  /** Takes the lead from a tab that does not answer, as one does that the browser has frozen. */
  async checkLeader(): Promise<void> {
    if (this.#leading || !IS_SECURE || this.#isClosed) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<"late">((resolve) => timer = setTimeout(() => resolve("late"), LEADER_MS));
    const answer = await Promise.race([this.call({ do: "look" }).catch(() => {}), late]);
    clearTimeout(timer);
    if (answer === "late" && document.visibilityState === "visible" && !this.#leading && !this.#isClosed) this.#stand(true);
  }

  /** Says which conversation somebody looks at here. */
  look(at: string | undefined): void {
    this.#looked(this.id, at);
    this.#post({ word: "looks", tab: this.id, at });
  }

  /** Returns whether somebody looks at a conversation, in any tab that is still there. */
  async isLookedAt(conversation: string): Promise<boolean> {
    for (const [tab, at] of this.#looks) {
      if (at === conversation && (tab === this.id || await this.#isAlive(tab))) return true;
    }
    return false;
  }

  /** Leaves, in all tabs. */
  async signOut(): Promise<void> {
    this.#post({ word: "signed out" });
    await this.#close("forget");
  }

  async #close(way: "stop" | "forget"): Promise<void> {
    this.#isClosed = true;
    const leading = this.#leading;
    this.#leading = undefined;
    await leading?.[way]();
    this.#letGo?.();
    this.#channel?.close();
  }

  #post(word: Word): void {
    if (!this.#isClosed) this.#channel?.postMessage(word);
  }

  /** Asks for the lock, which gives the lead for as long as it is held. */
  #stand(steal: boolean): void {
    navigator.locks.request(this.#name, steal ? { steal } : {}, async () => {
      if (this.#isClosed || this.#leading) return;
      await this.#lead();
      await new Promise<void>((resolve) => this.#letGo = resolve);
    }).catch(async () => {
      // Stolen: this tab did not answer in time.
      const leading = this.#leading;
      this.#leading = undefined;
      await leading?.stop();
      if (this.#isClosed) return;
      this.#stand(false);
      this.#listeners.followed();
    });
  }

  /** Lets another lead before this tab is frozen: it would go on to answer, and get nothing from the server. */
  #giveUpLead(): void {
    if (!this.#leading) return;
    void this.#leading.stop(); // goes on when this tab does
    this.#leading = undefined;
    this.#letGo?.();
    this.#hasGivenUp = true;
  }

  #standAgain(): void {
    if (!this.#hasGivenUp || this.#isClosed) return;
    this.#hasGivenUp = false;
    this.#stand(false);
    this.#listeners.followed();
  }

  async #lead(): Promise<void> {
    this.#leading = await this.#listeners.lead((told) => {
      this.#listeners.told(told);
      this.#post({ word: "told", told });
    });
    this.#post({ word: "leads" });
    for (const [id, { call, promise }] of this.#calls) {
      this.#calls.delete(id);
      this.#leading.perform(call).then(promise.resolve, promise.reject);
    }
    this.#listeners.followed();
  }

  async #heard(word: Word): Promise<void> {
    switch (word.word) {
      case "told":
        if (!this.#leading) this.#listeners.told(word.told);
        return;
      case "call":
        if (this.#leading) this.#post(await answerTo(word.id, this.#leading.perform(word.call)));
        return;
      case "answer": {
        const pending = this.#calls.get(word.id);
        this.#calls.delete(word.id);
        if (word.error === undefined) pending?.promise.resolve(word.value);
        else pending?.promise.reject(new Error(word.error));
        return;
      }
      case "leads":
        if (this.#leading) return;
        for (const [id, { call }] of this.#calls) this.#post({ word: "call", id, call });
        return this.#listeners.followed();
      case "looks":
        return this.#looked(word.tab, word.at);
      case "signed out":
        await this.#close("forget");
        return this.#listeners.signedOut();
    }
  }

  /** Returns the name of the lock that a tab holds for as long as it lives. */
  #tabLock(tab: string): string {
    return `${this.#name}:tab:${tab}`;
  }

  async #isAlive(tab: string): Promise<boolean> {
    const { held } = await navigator.locks.query();
    return held?.some(({ name }) => name === this.#tabLock(tab)) ?? false;
  }

  #looked(tab: string, at: string | undefined): void {
    if (at === undefined) this.#looks.delete(tab);
    else this.#looks.set(tab, at);
  }
}

async function answerTo(id: string, done: Promise<unknown>): Promise<Word> {
  try {
    return { word: "answer", id, value: await done };
  } catch (error) {
    return { word: "answer", id, error: error instanceof Error ? error.message : "This could not be done" };
  }
}
