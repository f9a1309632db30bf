import { assertEquals } from "@std/assert";
import type { State } from "../chat_client.ts";
import { StateNews } from "./words.ts";

Deno.test("StateNews tells a reason to wait once, another one, and the same one again after a connection", () => {
  const news = new StateNews();
  const waiting = (reason: string): State => ({ phase: "waiting", reason, delayMs: 1_000 });
  const table: [State, boolean][] = [
    [{ phase: "connecting" }, false],
    [waiting("no token"), true],
    [{ phase: "connecting" }, false],
    [waiting("no token"), false],
    [waiting("no file"), true],
    [{ phase: "online" }, true],
    [waiting("no file"), true],
    [{ phase: "closed", code: 4003, reason: "revoked", needsUser: true }, true],
    [{ phase: "closed", code: 1000, reason: "closed", needsUser: false }, false],
  ];
  for (const [state, isTold] of table) assertEquals(news.isNew(state), isTold, JSON.stringify(state));
});
