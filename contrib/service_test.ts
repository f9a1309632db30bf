/** parley.service: systemd takes it, and it sets variables that the server has. */

import { assert, assertEquals } from "@std/assert";
import { SERVER_OPTIONS } from "../server/options.ts";
import { lacks, lacksProgram } from "../testing/permissions.ts";

const UNIT = new URL("parley.service", import.meta.url);

Deno.test({
  name: "parley.service sets environment variables that the server reads, and a --max-memory below MemoryMax",
  ignore: lacks("read"),
  async fn() {
    const unit = await Deno.readTextFile(UNIT);
    const known = new Set<string>(Object.values(SERVER_OPTIONS).flatMap((option) => "env" in option ? [option.env] : []));
    const set = new Map([...unit.matchAll(/^Environment=([^=]+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]));
    assert(set.size > 0);
    for (const name of set.keys()) assert(known.has(name), `${name} is none of the server's`);
    const cap = Number(/^MemoryMax=(\d+)M$/m.exec(unit)?.[1]);
    assert(Number(set.get("PARLEY_MAX_MEMORY")) * 1.3 < cap, "between the two is what a peer can do unseen");
  },
});

Deno.test({
  name: "parley.service is taken by systemd-analyze verify without a word",
  ignore: lacks("read", "write") || lacksProgram("systemd-analyze"),
  async fn() {
    const dir = await Deno.makeTempDir({ prefix: "unit-" });
    try {
      // It looks whether the program is there, which it is on no machine that runs tests.
      const unit = (await Deno.readTextFile(UNIT)).replace(/^(Exec\w+=)\S+chat-server/gm, `$1${Deno.execPath()}`);
      await Deno.writeTextFile(`${dir}/parley.service`, unit);
      const { code, stderr } = await new Deno.Command("systemd-analyze", {
        args: ["verify", "--man=no", `${dir}/parley.service`],
        stdin: "null",
        stdout: "null",
        stderr: "piped",
      }).output();
      assertEquals([new TextDecoder().decode(stderr), code], ["", 0]);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});
