import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import fc from "fast-check";
import { sentenceOf } from "../ops/log.ts";
import { lacks } from "../testing/permissions.ts";
import {
  ApiKeys,
  isAllowed,
  KEY_BURST,
  KEY_RATE,
  KEYS_MAX,
  lineOf,
  makeSecret,
  parseApiKeys,
  PATTERNS_MAX,
} from "./api_keys.ts";
import { KeyError } from "./tokens.ts";

const HASH = `sha256:${"A".repeat(43)}`;

function one(settings: string) {
  return parseApiKeys(`shop ${HASH} ${settings}`)[0]!;
}

Deno.test("a line that was made is read back as the same key, and has no secret in it", () => {
  const secret = makeSecret();
  assert(/^parley_[\w-]{43}$/.test(secret));
  const key = { name: "shop", rate: 7, burst: 9, scopes: new Map([["write", ["shop", "order-*"]], ["stats", ["*"]]] as const) };
  const line = lineOf(key, secret);
  assert(!line.includes(secret) && !line.includes(secret.slice(7)));
  const [{ hash, ...read }] = parseApiKeys(line) as [ReturnType<typeof one>];
  assertEquals<unknown>(read, key);
  assertEquals(hash.length, 32);
  assertEquals(parseApiKeys(lineOf({ ...key, rate: Infinity }, secret))[0]!.rate, Infinity);
});

Deno.test("keys have a rate of their own, and without settings the usual one and no scopes", () => {
  const { rate, burst, scopes } = one("");
  assertEquals([rate, burst, scopes.size], [KEY_RATE, KEY_BURST, 0]);
  assertEquals([one("rate=0").rate, one("burst=0").burst, one("rate=3 burst=4").burst], [Infinity, Infinity, 4]);
});

Deno.test("a scope is for the names that its patterns name, in their canonical form, and no others", () => {
  const key = one("write=Shop,order-* read=* groups=#ops,#Team-*");
  const may = (scope: Parameters<typeof isAllowed>[1], ...names: string[]) => names.map((name) => isAllowed(key, scope, name));
  assertEquals(may("write", "shop", "shopper", "sho", "order-", "order-7", "orders", "*"), [
    ...[true, false, false, true, true, false, false],
  ]);
  assertEquals(may("read", "anybody"), [true]);
  assertEquals(may("groups", "#ops", "#ops2", "#team-a", "ops"), [true, false, true, false]);
  assertEquals([isAllowed(key, "write"), isAllowed(key, "erase"), isAllowed(key, "erase", "shop")], [true, false, false]);
});

Deno.test("a file of keys may have comments and empty lines, and lines that end in any way", () => {
  const text = `# ours\r\n\r\n  shop ${HASH}\r  # and theirs\n`;
  assertEquals(parseApiKeys(text).map(({ name }) => name), ["shop"]);
  assertEquals(parseApiKeys(""), []);
});

Deno.test("what is wrong with a file of keys is said with the number of its line", () => {
  const others = (n: number) => `sha256:${String(n).padStart(43, "B")}`;
  const wrong: [text: string, says: string][] = [
    [`a b c`, 'line 1: after the name comes "sha256:"'],
    [`\nshop`, 'line 2: after the name comes "sha256:"'],
    [`sh*p ${HASH}`, 'line 1: "the key\'s name" may have letters'],
    [`shop sha256:${"A".repeat(42)}`, "43 characters"],
    [`shop ${HASH} wirte=x`, 'there is no setting "wirte"'],
    [`shop ${HASH} write`, '"write" is no setting'],
    [`shop ${HASH} write=`, '"write=" is no setting'],
    [`shop ${HASH} write=a,,b`, '"write" is empty'],
    [`shop ${HASH} write=a write=b`, '"write" stands twice'],
    [`shop ${HASH} write=a*b`, "may have letters"],
    [`shop ${HASH} write=**`, "may have letters"],
    [`shop ${HASH} write=#ops`, "may have letters"],
    [`shop ${HASH} groups=ops`, "is no group"],
    [`shop ${HASH} stats=shop`, "it can be *"],
    [`shop ${HASH} rate=-1`, '"rate" is "-1", not a whole number'],
    [`shop ${HASH} rate=1e3`, "not a whole number"],
    [`shop ${HASH} __proto__=x`, "is no setting"],
    [`shop ${HASH} constructor=x`, 'there is no setting "constructor"'],
    [`shop ${HASH}\nSHOP ${others(1)}`, 'line 2: there is another key "shop" above'],
    [`shop ${HASH}\nother ${HASH}`, "line 2: the key has the secret of another one above"],
    [`shop ${HASH} write=${Array.from({ length: PATTERNS_MAX + 1 }, (_, i) => `u${i}`)}`, `more than ${PATTERNS_MAX} names`],
    [Array.from({ length: KEYS_MAX + 1 }, (_, i) => `k${i} ${others(i)}`).join("\n"), `more than ${KEYS_MAX} keys`],
  ];
  for (const [text, says] of wrong) assertThrows(() => parseApiKeys(text), KeyError, says);
});

Deno.test("any text is a file of keys or is refused in words, and whatever it holds is canonical", () => {
  const words = fc.constantFrom(
    "shop",
    HASH,
    "write=",
    "write=*",
    "#",
    "=",
    ",",
    " ",
    "\n",
    "\r",
    "rate=1",
    "\0",
    "stats=*",
    "ſ",
  );
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(words).map((parts) => parts.join("")),
    fc.array(words).map((p) => p.join(" ")),
  );
  fc.assert(fc.property(text, (text) => {
    try {
      for (const { name, hash, burst } of parseApiKeys(text)) {
        assertEquals([name, hash.length, burst >= 1], [name.normalize("NFKC").toLowerCase(), 32, true]);
      }
    } catch (error) {
      assertInstanceOf(error, KeyError);
    }
  }));
});

Deno.test({
  name: "the keys of a file are found by their secrets, and change with it; a file that is wrong or gone changes nothing",
  ignore: lacks("read", "write"),
  fn() {
    const dir = Deno.makeTempDirSync({ prefix: "keys-" }), file = `${dir}/keys`, log: string[] = [];
    const [first, second] = [makeSecret(), makeSecret()];
    const line = (name: string, secret: string) => lineOf({ name, rate: 1, burst: 1, scopes: new Map() }, secret);
    // Each state has a size of its own: two of them may come within one tick of the file system's clock.
    Deno.writeTextFileSync(file, line("one", first));
    const keys = new ApiKeys(file, (event, fields) => log.push(sentenceOf(event, fields)));
    const found = () => [first, second, "", first + "x", "x".repeat(10_000)].map((secret) => keys.find(secret)?.name);
    assertEquals(found(), ["one", undefined, undefined, undefined, undefined]);
    keys.look();
    assertEquals(log, []);
    Deno.writeTextFileSync(file, `\n${line("two", second)}`);
    keys.look();
    assertEquals(found().slice(0, 2), [undefined, "two"]);
    assertEquals(log.splice(0), [`${file} was read again: keys of the API in it: 1`]);
    Deno.writeTextFileSync(file, "two\n\n\n");
    for (let i = 0; i < 3; i++) keys.look();
    Deno.removeSync(file);
    for (let i = 0; i < 3; i++) keys.look();
    assertEquals(found().slice(0, 2), [undefined, "two"]);
    assertEquals(
      log.map((entry) => entry.slice(0, 60)),
      Array(2).fill(`the keys of the API stay as they were: ${file}`.slice(0, 60)),
    );
    assert(!log.join().includes(second));
    keys.close();
    assertThrows(() => new ApiKeys(file, () => {}), KeyError, "there is no such file; chat-server apikey makes one");
    assertThrows(() => new ApiKeys(dir, () => {}), KeyError, "cannot be read");
    Deno.writeTextFileSync(file, "x".repeat(1_048_577));
    assertThrows(() => new ApiKeys(file, () => {}), KeyError, "more than 1048576 bytes");
    Deno.removeSync(dir, { recursive: true });
  },
});
