import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { ApiKeys, isAllowed, SCOPES } from "../auth/api_keys.ts";
import { KeyError } from "../auth/tokens.ts";
import { parseOptions, UsageError } from "../cli/options.ts";
import { lacks } from "../testing/permissions.ts";
import { APIKEY_OPTIONS, apikeyCommand } from "./apikey.ts";

function run(...args: string[]): { said: string; notes: string } {
  const notes: string[] = [];
  const said = apikeyCommand(parseOptions(APIKEY_OPTIONS, args).values, (line) => notes.push(line));
  return { said, notes: notes.join("\n") };
}

Deno.test("chat-server apikey says a secret once, and its line has none of it", () => {
  const { said, notes } = run("--name", "Shop", "--write", "shop,order-*", "--write", "x", "--stats", "--rate", "0");
  assertMatch(said, /^parley_[\w-]{43}$/);
  assertMatch(
    notes,
    /^A line for the file of --api-keys:\nshop sha256:[\w-]{43} rate=0 burst=100 write=shop,order-\*,x stats=\*$/,
  );
  assert(!notes.includes(said));
  assert(run("--name", "shop", "--stats").said !== said);
});

Deno.test("chat-server apikey has an option for each scope, which says what it is about", () => {
  for (const [scope, words] of Object.entries(SCOPES)) {
    const { help } = APIKEY_OPTIONS[scope as keyof typeof SCOPES];
    assert(scope === "stats" || help.toLowerCase() === words.toLowerCase(), `${scope}: ${help}`);
  }
});

Deno.test({
  name: "chat-server apikey adds to a file whose owner and mode stay, and overwrites no secret before it is certain",
  ignore: lacks("read", "write"),
  fn() {
    const dir = Deno.makeTempDirSync({ prefix: "apikey-" }), file = `${dir}/keys`, out = `${dir}/shop.key`;
    const at = ["--api-keys", file, "--out", out] as const;
    assertEquals(run("--name", "shop", "--write", "shop", ...at).said, `The secret of shop is in ${out}; it is nowhere else`);
    const secret = Deno.readTextFileSync(out).trim();
    if (Deno.build.os !== "windows") {
      assertEquals([Deno.statSync(out).mode! & 0o777, Deno.statSync(file).mode! & 0o777], [0o600, 0o600]);
      Deno.chmodSync(file, 0o640);
    }
    assertThrows(() => run("--name", "shop", "--stats", ...at), KeyError, `${file}: line 3: there is another key "shop" above`);
    assertEquals(Deno.readTextFileSync(out).trim(), secret);
    Deno.writeTextFileSync(file, Deno.readTextFileSync(file).trimEnd());
    run("--name", "other", "--read", "*", "--api-keys", file);
    if (Deno.build.os !== "windows") assertEquals(Deno.statSync(file).mode! & 0o777, 0o640);
    const keys = new ApiKeys(file, () => {});
    const key = keys.find(secret)!;
    assertEquals([keys.size, key.name, isAllowed(key, "write", "shop"), isAllowed(key, "read")], [2, "shop", true, false]);
    keys.close();
    assertEquals(
      run("--list", "--api-keys", file).said,
      "shop  50/s, 100 at once  write=shop\nother  50/s, 100 at once  read=*",
    );
    Deno.writeTextFileSync(file, "nonsense");
    assertThrows(() => run("--list", "--api-keys", file), KeyError, `${file}: line 1: after the name`);
    assertThrows(() => run("--name", "x", "--stats", "--api-keys", file), KeyError, `${file}: line 1`);
    assertThrows(() => run("--list", "--api-keys", `${dir}/no`), KeyError, "there is no such file");
    assertThrows(() => run("--name", "x", "--stats", "--api-keys", `${dir}/no/keys`), KeyError, "Cannot write");
    Deno.removeSync(dir, { recursive: true });
  },
});

Deno.test("chat-server apikey refuses what would be no key, in words", () => {
  const wrong: [args: string[], says: string][] = [
    [[], "apikey needs --name NAME"],
    [["--name", "a b", "--stats"], '"--name" has white space'],
    [["--name", "shop"], "apikey needs a scope"],
    [["--name", "shop", "--write", "a*b"], '--write "a*b"'],
    [["--name", "shop", "--groups", "ops"], '--groups "ops" is no group'],
    [["--list"], "apikey --list needs --api-keys FILE"],
  ];
  for (const [args, says] of wrong) assertThrows(() => run(...args), UsageError, says);
});
