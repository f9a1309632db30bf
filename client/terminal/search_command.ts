/** `/search`: over all conversations, or one, by the server's index; again without words for older ones. */

import type { ChatClient } from "../../chat_client.ts";
import { parseAddress, QUERY_CHARS_MAX, Refusal } from "../../protocol.ts";
import type { ChatDisplay } from "./display.ts";
import type { Chats } from "./model.ts";

/** Messages that one search shows. */
const SHOWN = 30;
/** Answers that one search asks for at most, as the server bounds the work of each. */
const ANSWERS_MAX = 10;

/** A search that can go on. */
interface Search {
  readonly query: string;
  readonly with: string | undefined;
  readonly before: number | undefined;
}

/** Runs `/search`, and remembers where the last one ended. */
export class SearchCommand {
  readonly #client: ChatClient;
  readonly #chats: Chats;
  readonly #display: ChatDisplay;
  #last: Search | undefined;

  constructor(client: ChatClient, chats: Chats, display: ChatDisplay) {
    this.#client = client;
    this.#chats = chats;
    this.#display = display;
  }

  /** Searches for the words after the command. Rejects with a `ChatError`. */
  async run(rest: string): Promise<void> {
    if (rest === "") {
      if (this.#last) return await this.#find(this.#last);
      return this.#display.warning("/search needs words to look for; @NAME or #GROUP before them looks there alone");
    }
    const [, address, words = ""] = /^(?:@([^\s#]\S*)|(#\S+))\s+(.*)$/su.exec(rest)?.filter((part) => part !== undefined) ?? [];
    const name = address === undefined ? undefined : parseAddress(address, "the name");
    if (name instanceof Refusal) return this.#display.warning(name.message);
    const query = name === undefined ? rest : words;
    if (query.length > QUERY_CHARS_MAX) return this.#display.warning(`/search takes at most ${QUERY_CHARS_MAX} characters`);
    await this.#find({ query, with: name, before: undefined });
  }

  async #find(search: Search): Promise<void> {
    const { query } = search, other = search.with;
    const where = other === undefined ? {} : { with: other };
    let { before } = search;
    for (let answers = 1;; answers++) {
      const from = before === undefined ? {} : { before };
      const found = await this.#client.search({ query, ...where, ...from, limit: SHOWN });
      before = found.more ? found.before : undefined;
      const messages = found.messages.filter(({ sender }) => !this.#chats.ignored.has(sender));
      if (messages.length === 0 && before !== undefined && answers < ANSWERS_MAX) continue;
      this.#last = before === undefined ? undefined : { query, with: other, before };
      const more = before === undefined ? undefined : "/search shows what is older";
      return this.#display.history(`${query}${other === undefined ? "" : ` in ${other}`}`, messages, { more, label: true });
    }
  }
}
