import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { KeyError, Tokens } from "../auth/tokens.ts";
import { parseOptions, UsageError } from "../cli/options.ts";
import { lacks } from "../testing/permissions.ts";
import { KEYS_OPTIONS, keysCommand, readKey, TOKEN_OPTIONS, tokenCommand } from "./credentials.ts";

Deno.test({
  name: "chat-server keys writes a pair that only its owner reads, and never over another; token uses it",
  ignore: lacks("read", "write"),
  async fn() {
    const dir = await Deno.makeTempDir({ prefix: "keys-" });
    const out = `${dir}/keys`;
    const { values } = parseOptions(KEYS_OPTIONS, ["--out", out]);
    assertStringIncludes(await keysCommand(values), "private.pem");
    if (Deno.build.os !== "windows") assertEquals((Deno.statSync(`${out}/private.pem`).mode ?? 0) & 0o777, 0o600);
    await assertRejects(() => keysCommand(values), KeyError, "is there already");
    await Deno.mkdir(`${dir}/half`);
    await Deno.writeTextFile(`${dir}/half/public.pem`, "of another pair");
    await assertRejects(() => keysCommand({ ...values, out: `${dir}/half` }), KeyError, "public.pem is there already");
    await assertRejects(() => Deno.stat(`${dir}/half/private.pem`), Deno.errors.NotFound);
    await assertRejects(() => keysCommand({ ...values, out: `${out}/public.pem` }), KeyError, "Cannot make the folder");
    const tokens = await Tokens.open({ publicKey: readKey(`${out}/public.pem`) });
    const notes: string[] = [];
    const make = (...args: string[]) => tokenCommand(parseOptions(TOKEN_OPTIONS, args).values, (line) => notes.push(line));
    const claims = await tokens.verify(await make("--name", "Alice", "--jwt-private-key", `${out}/private.pem`));
    assert("user" in claims);
    assertEquals(notes.splice(0), [`The token's id, which --revoked takes: ${claims.tokenId}`]);
    const file = `${dir}/alice.token`;
    Deno.writeTextFileSync(file, "an older one", { mode: 0o644 });
    const said = await make("--name", "alice", "--out", file, "--jwt-private-key", `${out}/private.pem`);
    assertEquals(said, `The token of alice is in ${file}, for 30 days`);
    assert("user" in await tokens.verify(readKey(file).trim()));
    if (Deno.build.os !== "windows") assertEquals(Deno.statSync(file).mode! & 0o777, 0o600);
    for (const args of [[], ["--name", "a b", "--jwt-private-key", "x"], ["--name", "alice"]]) {
      await assertRejects(() => make(...args), UsageError);
    }
    await assertRejects(
      () => make("--name", "a", "--jwt-secret-file", `${dir}/no`),
      KeyError,
    );
    await assertRejects(
      () => make("--name", "a", "--jwt-private-key", `${out}/public.pem`),
      KeyError,
      `--jwt-private-key ${out}/public.pem: The private key is no PEM`,
    );
    await Deno.remove(dir, { recursive: true });
  },
});
