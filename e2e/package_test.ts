/**
 * The packages as they are installed: the Debian package in a system made by debootstrap, and the container image's root, without
 * an engine. They need PARLEY_BINARIES with compiled programs, root, and leave to mount; where one is missing the tests are ignored.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { CAN_RUN, lacks, lacksProgram } from "../testing/permissions.ts";
import { type Command, RunningServer, runToEnd } from "../testing/process.ts";
import { type Build, makeDeb } from "../tools/package/deb.ts";
import { makeImage } from "../tools/package/image.ts";
import { run } from "../tools/package/run.ts";

const ROOT = decodeURIComponent(new URL("..", import.meta.url).pathname).replace(/\/$/, "");
const EPOCH = 1_790_000_000;
/** Bytes of the smallest program with the runtime in it: a launcher of a checkout cannot be installed elsewhere. */
const STANDALONE_BYTES_MIN = 10_000_000;
const programs = lacks("env") ? undefined : Deno.env.get("PARLEY_BINARIES");

/** Returns true where a system of its own can be made and entered: as root, with devices, and mounts that only its processes see. */
function canEnter(): boolean {
  if (Deno.uid() !== 0) return false;
  const script = "mount -t tmpfs none /mnt && mknod /mnt/null c 1 3 && echo > /mnt/null";
  return new Deno.Command("unshare", { args: ["--mount", "sh", "-c", script], stdout: "null", stderr: "null" }).outputSync()
    .success;
}

const isCompiled = programs !== undefined && CAN_RUN && Deno.statSync(`${programs}/chat-server`).size > STANDALONE_BYTES_MIN;
const ignore = !isCompiled || !canEnter();

/** Returns the command that runs a program in another root, where /proc shows the processes, as somebody. */
function inside(root: string, user: string, program: string): Command {
  const script =
    'root=$1 user=$2; shift 2; mkdir -p "$root/proc"; mount -t proc proc "$root/proc"; exec chroot --userspec="$user" "$root" "$@"';
  return { command: "unshare", args: ["--mount", "sh", "-ec", script, "sh", root, user, program] };
}

async function ran(root: string, program: string, ...args: string[]): Promise<string> {
  const { code, out, err } = await runToEnd(inside(root, "root", program), args, "", { DEBIAN_FRONTEND: "noninteractive" });
  assertEquals(code, 0, `${program} ${args.join(" ")}: ${out}\n${err}`);
  return out;
}

/** Makes what packages are made from, in a folder. */
async function buildIn(work: string): Promise<Build> {
  const build = { root: ROOT, programs: programs!, work: `${work}/work`, out: `${work}/out`, epoch: EPOCH };
  await Deno.mkdir(build.work);
  await Deno.mkdir(build.out);
  return build;
}

/** Makes a package of an older version out of another one; returns its path. */
async function olderThan(file: string, work: string): Promise<string> {
  await run("dpkg-deb", ["--raw-extract", file, `${work}/older`]);
  const control = await Deno.readTextFile(`${work}/older/DEBIAN/control`);
  await Deno.writeTextFile(`${work}/older/DEBIAN/control`, control.replace(/^Version: .*$/m, "Version: 0.0.1-1"));
  await run("dpkg-deb", ["-z1", "--root-owner-group", "--build", `${work}/older`, `${work}/older.deb`]);
  return `${work}/older.deb`;
}

/** Makes a small Debian of the release that runs here, from where this machine gets its packages. */
async function bootstrap(root: string): Promise<void> {
  const sites = await run("apt-get", ["indextargets", "--format", "$(SITE) $(CODENAME)", "Identifier: Packages"]);
  const release = (await run("sh", ["-c", '. /etc/os-release; echo "$VERSION_CODENAME"'])).trim();
  const site = sites.split("\n").map((line) => line.split(" ")).find(([, codename]) => codename === release)?.[0];
  assert(site !== undefined, `apt-get knows no place that has ${release}`);
  await run("debootstrap", ["--variant=minbase", "--include=adduser,systemd", release, root, site]);
}

async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}

Deno.test({
  name:
    "the Debian package is installed, its programs talk, settings and messages outlive an upgrade, and purging leaves nothing",
  ignore: ignore || lacksProgram("debootstrap") || lacksProgram("dpkg-deb"),
  async fn(t) {
    const work = await Deno.makeTempDir({ prefix: "installed-" }), root = `${work}/root`;
    try {
      const newer = await makeDeb(await buildIn(work)), older = await olderThan(newer, work);
      await bootstrap(root);
      await Deno.copyFile(newer, `${root}/tmp/newer.deb`);
      await Deno.copyFile(older, `${root}/tmp/older.deb`);
      const data = "/var/lib/parley", settings = "/etc/parley/parley.env";

      await t.step("installed, the service's user is there and both programs start", async () => {
        await ran(root, "dpkg", "--install", "/tmp/older.deb");
        assertMatch(await ran(root, "id", "parley"), /uid=\d+\(parley\)/);
        assertMatch(await ran(root, "chat-client", "--version"), /^chat-client \d+\.\d+\.\d+$/m);
        await run("systemd-analyze", ["verify", "--man=no", `--root=${root}`, "parley.service"]);
        await ran(root, "install", "-d", "-o", "parley", "-g", "parley", "-m", "700", data); // as StateDirectory= does
      });
      await t.step("the server runs as its user, and a client of the package sends a message", async () => {
        await using server = await RunningServer.start(inside(root, "parley:parley", "chat-server"), ["--data", data]);
        await ran(root, "chat-client", "send", "alice", "kept over the upgrade", "--name", "alice", "--server", server.url);
        server.kill("SIGTERM");
        assertEquals(await server.code(), 0);
      });
      await t.step("an upgrade leaves what the operator wrote, and what the server kept", async () => {
        await Deno.writeTextFile(root + settings, "PARLEY_PORT=8081\n");
        await ran(root, "dpkg", "--install", "/tmp/newer.deb");
        assertEquals(await Deno.readTextFile(root + settings), "PARLEY_PORT=8081\n");
        await using server = await RunningServer.start(inside(root, "parley:parley", "chat-server"), ["--data", data]);
        const lines = await ran(root, "chat-client", "history", "alice", "--name", "alice", "--server", server.url);
        assertStringIncludes(lines, "kept over the upgrade");
      });
      await t.step("removing leaves messages and settings, purging neither", async () => {
        await ran(root, "dpkg", "--remove", "parley");
        assertEquals(await exists(`${root}/usr/bin/chat-server`), false);
        assert(await exists(root + data) && await exists(root + settings));
        await ran(root, "dpkg", "--purge", "parley");
        assertEquals([await exists(root + data), await exists(`${root}/etc/parley`)], [false, false]);
        assertEquals((await Deno.readTextFile(`${root}/etc/passwd`)).includes("parley"), false);
      });
    } finally {
      await Deno.remove(work, { recursive: true });
    }
  },
});

Deno.test({
  name: "lintian has nothing to say about the Debian package",
  ignore: !isCompiled || lacksProgram("lintian") || lacksProgram("dpkg-deb"),
  async fn() {
    const work = await Deno.makeTempDir({ prefix: "lintian-" });
    try {
      const file = await makeDeb(await buildIn(work));
      const args = ["--fail-on", "error,warning", "--allow-root", file];
      assertEquals(await runToEnd({ command: "lintian", args }, []), { code: 0, out: "", err: "" });
    } finally {
      await Deno.remove(work, { recursive: true });
    }
  },
});

/** Reads the settings of the only image of a layout. */
async function settingsOf(layout: string): Promise<{ User: string; Entrypoint: string[]; Cmd: string[]; Env: string[] }> {
  const blob = async (digest: string) => JSON.parse(await Deno.readTextFile(`${layout}/blobs/${digest.replace(":", "/")}`));
  const { manifests: [{ digest }] } = JSON.parse(await Deno.readTextFile(`${layout}/index.json`));
  return (await blob((await blob(digest)).config.digest)).config;
}

Deno.test({
  name: "the container image runs as nobody, is refused without a key, and has neither shell nor package manager",
  ignore: ignore || lacksProgram("umoci"),
  async fn() {
    const work = await Deno.makeTempDir({ prefix: "image-" });
    try {
      const layout = await makeImage(await buildIn(work));
      const tag = JSON.parse(await Deno.readTextFile(`${layout}/index.json`)).manifests[0]
        .annotations["org.opencontainers.image.ref.name"];
      await run("umoci", ["unpack", "--image", `${layout}:${tag}`, `${work}/bundle`]);
      const root = `${work}/bundle/rootfs`, { User, Entrypoint, Cmd, Env } = await settingsOf(layout);
      for (const path of ["bin/sh", "usr/bin/apt", "usr/bin/dpkg"]) assertEquals(await exists(`${root}/${path}`), false, path);
      const env = Object.fromEntries(Env.map((line) => line.split(/=(.*)/s) as [string, string]));
      const program = inside(root, User, Entrypoint[0]!);
      const refused = await runToEnd(program, [...Cmd, "--port", "0"], "", env);
      assertEquals(refused.code, 1);
      assertMatch(refused.err, /key|token/i);
      const here = { ...env, PARLEY_HOST: "127.0.0.1" };
      await using server = await RunningServer.start(program, [], here);
      const health = await fetch(server.url.replace(/^ws(.*)ws$/, "http$1healthz"));
      assertEquals(await health.text(), "ok\n");
      assertEquals((await Deno.stat(`${root}/data/parley.db`)).uid, 65_534);
    } finally {
      await Deno.remove(work, { recursive: true });
    }
  },
});
