/** The Debian package: both programs, the service, manual pages, completions and documents. */

import config from "../../deno.json" with { type: "json" };
import { run } from "./run.ts";
import { gzip, Tree } from "./tree.ts";

/** Inputs of a package. */
export interface Build {
  /** Folder of this checkout. */
  readonly root: string;
  /** Folder of the compiled programs. */
  readonly programs: string;
  /** Empty folder to work in. */
  readonly work: string;
  /** Folder that the result goes to. */
  readonly out: string;
  /** Seconds since 1970 that everything is dated. */
  readonly epoch: number;
}

const MAINTAINER = "The Parley authors <parley@localhost>";
const PROGRAMS = { "chat-server": 8, "chat-client": 1 } as const;
/** Paths at which shells look for completions of a program. */
const COMPLETIONS = {
  bash: (name: string) => `usr/share/bash-completion/completions/${name}`,
  zsh: (name: string) => `usr/share/zsh/vendor-completions/_${name}`,
  fish: (name: string) => `usr/share/fish/vendor_completions.d/${name}.fish`,
};
const DOCUMENTS = [
  "README.md",
  "SECURITY.md",
  "docs/OPERATIONS.md",
  "docs/PROTOCOL.md",
  "docs/CLIENT.md",
  "docs/API.md",
  "docs/WEBHOOKS.md",
  "docs/CLUSTER.md",
  "docs/openapi.json",
];

/** Makes the package; returns the path of its file. Throws `Unmakeable` without dpkg-deb. */
export async function makeDeb(build: Build): Promise<string> {
  const tree = new Tree(`${build.work}/deb`);
  await tree.folder("");
  const architecture = (await run("dpkg", ["--print-architecture"])).trim();
  for (const [name, section] of Object.entries(PROGRAMS)) await addProgram(tree, build, name, section);
  await addService(tree, build);
  await addDocuments(tree, build);
  await addControl(tree, build, architecture);
  await tree.settle(build.epoch);
  const file = `${build.out}/parley_${debianVersion()}_${architecture}.deb`;
  const env = { SOURCE_DATE_EPOCH: String(build.epoch) };
  await run("dpkg-deb", ["--root-owner-group", "-Zxz", "-z1", "--build", tree.root, file], { env });
  return file;
}

/** Returns the version for Debian: a revision makes it a package of our own. */
export function debianVersion(): string {
  return `${config.version}-1`;
}

async function addProgram(tree: Tree, { programs }: Build, name: string, section: number): Promise<void> {
  const program = `${programs}/${name}`;
  await tree.copy(program, `usr/bin/${name}`, 0o755);
  const manual = (await run(program, ["man"])).replace(/^(\.TH \S+) \d/m, `$1 ${section}`);
  await tree.write(`usr/share/man/man${section}/${name}.${section}.gz`, gzip(manual));
  for (const [shell, placeOf] of Object.entries(COMPLETIONS)) {
    await tree.write(placeOf(name), await run(program, ["completions", shell]));
  }
}

async function addService(tree: Tree, { root }: Build): Promise<void> {
  await tree.write("usr/lib/systemd/system/parley.service", unitOf(await Deno.readTextFile(`${root}/contrib/parley.service`)));
  await tree.copy(`${root}/contrib/debian/parley.env`, "etc/parley/parley.env");
}

/** Adapts the unit of contrib/ to where the package puts things. Its key is a setting: without one the server starts too. */
export function unitOf(unit: string): string {
  const [, body] = unit.split(/^(?=\[Unit\])/m);
  return body!
    .replaceAll("/usr/local/bin/", "/usr/bin/")
    .replace(/^Documentation=.*$/m, "Documentation=man:chat-server(8) file:/usr/share/doc/parley/OPERATIONS.md.gz")
    .replace(/^Environment=PARLEY_JWT_PUBLIC_KEY=.*\n/m, "");
}

async function addDocuments(tree: Tree, { root, epoch }: Build): Promise<void> {
  const folder = "usr/share/doc/parley";
  for (const path of DOCUMENTS) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    await tree.write(`${folder}/${name}.gz`, gzip(await Deno.readTextFile(`${root}/${path}`)));
  }
  await tree.write(`${folder}/copyright`, copyright(await Deno.readTextFile(`${root}/LICENSE`)));
  const changes = `parley (${debianVersion()}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n` +
    ` -- ${MAINTAINER}  ${new Date(epoch * 1_000).toUTCString().replace("GMT", "+0000")}\n`;
  await tree.write(`${folder}/changelog.Debian.gz`, gzip(changes));
  await tree.write(`${folder}/changelog.gz`, gzip(await Deno.readTextFile(`${root}/CHANGELOG.md`)));
  await tree.copy(`${root}/contrib/debian/lintian-overrides`, "usr/share/lintian/overrides/parley");
}

function copyright(license: string): string {
  const [holder] = /^Copyright .*$/m.exec(license)!;
  const text = license.slice(license.indexOf("Permission is")).trimEnd().split("\n").map((line) => ` ${line || "."}`);
  return `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Parley

Files: *
${holder.replace(/^Copyright \(c\)/, "Copyright:")}
License: MIT
${text.join("\n")}
`;
}

async function addControl(tree: Tree, { root }: Build, architecture: string): Promise<void> {
  const size = (await run("du", ["-sk", "--apparent-size", tree.root])).split("\t")[0]!;
  await tree.write(
    "DEBIAN/control",
    `Package: parley
Version: ${debianVersion()}
Architecture: ${architecture}
Maintainer: ${MAINTAINER}
Installed-Size: ${size}
Depends: adduser, libc6 (>= 2.35), libgcc-s1
Section: net
Priority: optional
Description: self-hosted real-time messaging server and terminal client
 A server that passes messages between the people and programs of a team,
 over a WebSocket and one line of JSON each, and keeps them until everybody
 has them. The client chats on a terminal and speaks to scripts.
`,
  );
  await tree.write("DEBIAN/conffiles", "/etc/parley/parley.env\n");
  for (const script of ["postinst", "prerm", "postrm"]) {
    await tree.copy(`${root}/contrib/debian/${script}`, `DEBIAN/${script}`, 0o755);
  }
  await tree.write(
    "DEBIAN/md5sums",
    await run("sh", ["-c", "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum"], {
      cwd: tree.root,
    }),
  );
}
