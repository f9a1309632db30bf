import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { TokenSource } from "./token.ts";

const EXPIRED = `x.${btoa(JSON.stringify({ exp: 1 }))}.x`;

class Setup {
  text = "first";
  time = 0;
  readonly source: TokenSource;

  constructor(file: string | undefined = "FILE") {
    this.source = new TokenSource({ read: () => this.text, file, host: "h", now: () => this.time });
  }

  /** Shows a token that the server does not accept; returns whether that is for good. */
  refused(token: string): boolean {
    this.text = token;
    return this.source.judge(this.source.next()!).fatal;
  }
}

Deno.test("TokenSource takes a refusal before any welcome for good, and where the token cannot change", () => {
  assertEquals(new Setup().refused("first"), true);
  const fixed = new TokenSource({ read: () => "first", file: undefined, host: "h" });
  fixed.next();
  fixed.welcomed();
  assertEquals(fixed.judge("first").fatal, true);
});

Deno.test("TokenSource waits for another token where the one that was accepted has expired, and does not show it again", () => {
  const t = new Setup();
  t.source.next();
  t.source.welcomed();
  assertEquals(t.refused("first"), false);
  assertMatch(assertThrows(() => t.source.next(), Error).message, /expired: waiting for a new one/);
  t.text = "second";
  assertEquals(t.source.next(), "second");
  t.source.welcomed();
  assertEquals(t.refused(EXPIRED), false, "nor one that says of itself that it has expired");
});

Deno.test("TokenSource gives a half-written token time, and takes a forged one for good", () => {
  const t = new Setup();
  t.source.next();
  t.source.welcomed();
  assertEquals(t.refused("hal"), false);
  t.time = 4_999;
  assertEquals(t.refused("half"), false);
  t.time += 4_999;
  assertEquals(t.refused("half"), false);
  t.time++;
  assertEquals(t.refused("half"), true);
});
