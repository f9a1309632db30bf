import { assert, assertEquals, assertRejects } from "@std/assert";
import { lacks } from "../testing/permissions.ts";
import { Revoked } from "./revoked.ts";

Deno.test({
  name: "whom a backend revokes is kept beside the operator's list, which is never written, over restarts and until taken back",
  ignore: lacks("read", "write"),
  async fn() {
    const dir = await Deno.makeTempDir({ prefix: "revoked-" }), file = `${dir}/revoked`;
    await Deno.writeTextFile(file, "mallory\n");
    const revoked = new Revoked(file, () => {});
    let changes = 0;
    revoked.onChange((isOwn) => changes += isOwn ? 1 : 0);
    await Promise.all(["ann", "ben", "ann"].map((name) => revoked.add(name)));
    assertEquals(changes, 2);
    assertEquals(["ann", "ben", "mallory", "cat"].map((name) => revoked.has(name, undefined)), [true, true, true, false]);
    assertEquals([...revoked.own!].sort(), ["ann", "ben", "mallory"]);
    assertEquals(await Deno.readTextFile(file), "mallory\n");
    await revoked.remove("ben");
    await revoked.remove("mallory");
    assertEquals(["ann", "ben", "mallory"].map((name) => revoked.has(name, undefined)), [true, false, true]);
    revoked.close();

    const again = new Revoked(file, () => {});
    assertEquals(["ann", "ben"].map((name) => again.has(name, undefined)), [true, false]);
    again.onChange(() => changes = 100);
    await Deno.remove(again.keptFile!);
    again.look();
    assertEquals([again.has("ann", undefined), changes], [false, 100], "what is taken out of the file by hand counts too");
    again.close();
    assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["revoked"], "nothing is left lying around");

    const nowhere = new Revoked(undefined, () => {});
    assertEquals(nowhere.keptFile, undefined);
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: "a revocation that cannot be written is none, and later ones are tried again",
  ignore: lacks("read", "write"),
  async fn() {
    const dir = await Deno.makeTempDir({ prefix: "revoked-" }), file = `${dir}/revoked`;
    await Deno.writeTextFile(file, "");
    const revoked = new Revoked(file, () => {});
    await Deno.mkdir(`${file}.api`);
    // A folder stands where the file should be.
    await assertRejects(() => revoked.add("ann"));
    assert(!revoked.has("ann", undefined));
    await Deno.remove(`${file}.api`);
    await revoked.add("ann");
    assert(revoked.has("ann", undefined));
    revoked.close();
    await Deno.remove(dir, { recursive: true });
  },
});
