import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { CAN_RUN, lacks, lacksProgram } from "../testing/permissions.ts";
import { type Build, debianVersion, makeDeb, unitOf } from "./package/deb.ts";
import { run } from "./package/run.ts";
import { billOfMaterials } from "./package/sbom.ts";

const ROOT = decodeURIComponent(new URL("..", import.meta.url).pathname).replace(/\/$/, "");
const EPOCH = 1_790_000_000;
const LOCK = {
  npm: {
    "@a/one@1.0.0": { integrity: `sha512-${btoa("12")}`, dependencies: ["two"] },
    "two@2.1.0": { integrity: `sha512-${btoa("34")}` },
    "tests-only@3.0.0": { integrity: `sha512-${btoa("56")}` },
  },
};

Deno.test("the bill of materials has the runtime and every package that is shipped, with its hash, and no others", () => {
  const text = billOfMaterials(LOCK, { version: "1.2.3", deno: "2.9.6", epoch: EPOCH, shipped: ["@a/one@1.0.0"] });
  const { metadata, components } = JSON.parse(text) as {
    metadata: { timestamp: string; component: { version: string } };
    components: { purl: string; hashes?: { alg: string; content: string }[] }[];
  };
  assertEquals([metadata.timestamp, metadata.component.version], [new Date(EPOCH * 1_000).toISOString(), "1.2.3"]);
  assertEquals(components.map(({ purl }) => purl), [
    "pkg:github/denoland/deno@v2.9.6",
    "pkg:npm/%40a/one@1.0.0",
    "pkg:npm/two@2.1.0",
  ]);
  assertEquals(components[1]!.hashes, [{ alg: "SHA-512", content: "3132" }]);
  const product = { version: "1", deno: "2", epoch: EPOCH, shipped: ["missing"] };
  assertThrows(() => billOfMaterials(LOCK, product), Error, 'deno.lock does not have "missing"');
});

Deno.test({
  name: "the unit of the package starts the packaged program, and needs no key to start",
  ignore: lacks("read"),
  async fn() {
    const unit = unitOf(await Deno.readTextFile(`${ROOT}/contrib/parley.service`));
    assertMatch(unit, /^\[Unit\]/);
    assertMatch(unit, /^ExecStart=\/usr\/bin\/chat-server --quiet$/m);
    assertMatch(unit, /^EnvironmentFile=-\/etc\/parley\/parley\.env$/m);
    assert(!unit.includes("/usr/local") && !unit.includes("PARLEY_JWT_PUBLIC_KEY"));
  },
});

/** Makes a package of programs that only have a manual and completions; returns its path. */
async function packaged(folder: string, name: string): Promise<string> {
  const build: Build = {
    root: ROOT,
    programs: `${folder}/programs`,
    work: `${folder}/${name}`,
    out: `${folder}/${name}-out`,
    epoch: EPOCH,
  };
  await Deno.mkdir(build.programs, { recursive: true });
  await Deno.mkdir(build.out);
  await Deno.mkdir(build.work);
  for (const program of ["chat-server", "chat-client"]) {
    const script = `#!/bin/sh\n[ "$1" = man ] && echo '.TH ${program} 1' || echo "# $2"\n`;
    await Deno.writeTextFile(`${build.programs}/${program}`, script, { mode: 0o755 });
  }
  return await makeDeb(build);
}

Deno.test({
  name: "the Debian package has programs, service, manual pages, completions and settings, and is the same bytes every time",
  ignore: !CAN_RUN || lacksProgram("dpkg-deb"),
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "package-" });
    try {
      const file = await packaged(folder, "one"), again = await packaged(folder, "two");
      assertEquals(await Deno.readFile(file), await Deno.readFile(again));
      const list = await run("dpkg-deb", ["--contents", file]);
      for (
        const line of [
          /^-rwxr-xr-x root\/root .* \.\/usr\/bin\/chat-server$/m,
          /^-rw-r--r-- root\/root .* \.\/usr\/lib\/systemd\/system\/parley\.service$/m,
          /\.\/usr\/share\/man\/man8\/chat-server\.8\.gz$/m,
          /\.\/usr\/share\/man\/man1\/chat-client\.1\.gz$/m,
          /\.\/usr\/share\/bash-completion\/completions\/chat-client$/m,
          /\.\/usr\/share\/zsh\/vendor-completions\/_chat-server$/m,
          /\.\/usr\/share\/fish\/vendor_completions\.d\/chat-client\.fish$/m,
          /\.\/usr\/share\/doc\/parley\/API\.md\.gz$/m,
          /\.\/usr\/share\/doc\/parley\/WEBHOOKS\.md\.gz$/m,
          /\.\/usr\/share\/doc\/parley\/CLUSTER\.md\.gz$/m,
          /\.\/usr\/share\/doc\/parley\/openapi\.json\.gz$/m,
        ]
      ) assertMatch(list, line);
      assertEquals((await run("dpkg-deb", ["--field", file, "Version"])).trim(), debianVersion());
      await run("dpkg-deb", ["--control", file, `${folder}/control`]);
      assertEquals(await Deno.readTextFile(`${folder}/control/conffiles`), "/etc/parley/parley.env\n");
      for (const script of ["postinst", "prerm", "postrm"]) await run("sh", ["-n", `${folder}/control/${script}`]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
