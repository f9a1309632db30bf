import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import config from "../deno.json" with { type: "json" };
import { CAN_RUN, lacks } from "../testing/permissions.ts";
import { launcher, programOf, putInPlace } from "./compile.ts";

Deno.test("programOf takes main module and permissions from the command of a task, and nothing else for one", () => {
  assertEquals(programOf("chat", "deno run --no-prompt --allow-net chat.ts"), {
    name: "chat",
    main: "chat.ts",
    flags: ["--no-prompt", "--allow-net"],
  });
  assertEquals(programOf("chat", "deno run --no-prompt '--allow-env=A_*,B' chat.ts").flags, [
    "--no-prompt",
    "--allow-env=A_*,B",
  ]);
  assertEquals(programOf("chat", "deno run build.ts && deno run --no-prompt chat.ts").flags, ["--no-prompt"]);
  assertThrows(() => programOf("chat", "deno run chat.ts --port 1"), Error, "its task is not");
  assertThrows(() => programOf("chat", "deno test"), Error, "its task is not");
});

Deno.test("the programs name each permission that they have, and ask for no more", () => {
  for (const task of [config.tasks.server, config.tasks.client]) {
    const { flags } = programOf("program", task.command);
    assert(flags.includes("--no-prompt"));
    // On a first start the progress of downloads would wipe what the program says.
    assert(flags.includes("--quiet"));
    assertEquals(
      flags.filter((flag) => !/^--(quiet|no-prompt|allow-(net|read|write|run|env)|allow-sys=statfs)$/.test(flag)),
      [],
    );
  }
  assert(!programOf("server", config.tasks.server.command).flags.some((flag) => flag.startsWith("--allow-run")));
});

Deno.test("no task has an asterisk that is not in quotes: up to 2.6 that is a pattern which matches no file", () => {
  for (const [name, task] of Object.entries(config.tasks)) {
    assert(!task.command.replaceAll(/'[^']*'/g, "").includes("*"), `${name}: ${task.command}`);
  }
});

Deno.test({
  name: "putInPlace leaves what was there alone until the new file is whole, and nothing beside it",
  ignore: lacks("read", "write"),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      const file = `${folder}/chat-server`;
      await Deno.writeTextFile(file, "works");
      const fails = putInPlace(file, async (beside) => {
        await Deno.writeTextFile(beside, "half");
        throw new Error("no runtime");
      });
      await assertRejects(() => fails, Error, "no runtime");
      assertEquals([await Deno.readTextFile(file), [...Deno.readDirSync(folder)].length], ["works", 1]);
      await putInPlace(file, (beside) => Deno.writeTextFile(beside, "newer"));
      assertEquals([await Deno.readTextFile(file), [...Deno.readDirSync(folder)].length], ["newer", 1]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  name: "a launcher hands over arguments and exit status, from a folder of any name and through a link",
  ignore: !CAN_RUN || Deno.build.os === "windows",
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "it's a $folder " });
    try {
      await Deno.writeTextFile(`${folder}/deno.json`, "{}");
      await Deno.writeTextFile(`${folder}/main.ts`, "console.log(JSON.stringify(Deno.args)); Deno.exit(7);");
      const script = launcher({ name: "chat", main: "main.ts", flags: ["--no-prompt"] }, `${folder}/`);
      await Deno.writeTextFile(`${folder}/chat`, script, { mode: 0o755 });
      await Deno.mkdir(`${folder}/bin`);
      await Deno.symlink(`${folder}/chat`, `${folder}/bin/chat`);
      const args = ["--name", "b'o b", "", "$HOME", "*"];
      const { code, stdout } = await new Deno.Command(`${folder}/bin/chat`, { args, env: { PATH: pathWithDeno() } }).output();
      assertEquals(JSON.parse(new TextDecoder().decode(stdout)), args);
      assertEquals(code, 7);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

function pathWithDeno(): string {
  const deno = Deno.execPath();
  return `${deno.slice(0, deno.lastIndexOf("/"))}:${Deno.env.get("PATH")}`;
}
