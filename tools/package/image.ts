/**
 * The container image: an OCI layout whose root is made from Debian's packages, with no shell and no package manager in it, and
 * runs as nobody.
 */

import config from "../../deno.json" with { type: "json" };
import type { Build } from "./deb.ts";
import { run, Unmakeable } from "./run.ts";
import { Tree } from "./tree.ts";

/** Packages that the runtime links, certificates to trust, and time zones. */
const PACKAGES = ["libc6", "libgcc-s1", "ca-certificates", "tzdata"];
/** Documents and translations in them, which no program reads. */
const LEFT_OUT = ["usr/share/doc", "usr/share/man", "usr/share/lintian", "usr/share/locale", "usr/share/info"];
const NOBODY = 65_534;

/**
 * Makes the image as an OCI layout in a folder; returns its path. Throws {@linkcode Unmakeable} without apt-get, dpkg-deb and
 * umoci, and for anybody but root: the folder of the data is nobody's.
 */
export async function makeImage(build: Build): Promise<string> {
  if (Deno.uid() !== 0) throw new Unmakeable("only root can give its folder /data to nobody");
  const root = await makeRoot(build);
  const layout = `${build.out}/parley-image`;
  const image = `${layout}:${config.version}`, bundle = `${build.work}/bundle`;
  const env = { SOURCE_DATE_EPOCH: String(build.epoch) };
  await Deno.remove(layout, { recursive: true }).catch(() => {});
  await run("umoci", ["init", "--layout", layout]);
  await run("umoci", ["new", "--image", image], { env });
  await run("umoci", ["unpack", "--image", image, bundle], { env });
  await run("cp", ["-a", `${root}/.`, `${bundle}/rootfs/`]);
  const created = new Date(build.epoch * 1_000).toISOString().replace(".000", "");
  await run("umoci", ["repack", "--image", image, "--history.created", created, bundle], { env });
  await run("umoci", ["config", "--image", image, ...settings(created)], { env });
  await run("umoci", ["gc", "--layout", layout]);
  return layout;
}

/** Lists the settings of the image: it listens to the world behind the container's network, and so needs a key. */
function settings(created: string): string[] {
  return [
    ["--created", created],
    ["--history.created", created],
    ["--config.user", `${NOBODY}:${NOBODY}`],
    ["--config.entrypoint", "/usr/bin/chat-server"],
    ["--config.cmd", "--quiet"],
    ["--config.env", "PARLEY_HOST=0.0.0.0"],
    ["--config.env", "PARLEY_DATA=/data"],
    ["--config.exposedports", "8080"],
    ["--config.volume", "/data"],
    ["--config.workingdir", "/"],
    ["--config.label", `org.opencontainers.image.version=${config.version}`],
  ].flat();
}

/** Makes the root file system; returns its folder. */
async function makeRoot({ work, programs, epoch }: Build): Promise<string> {
  const packages = `${work}/packages`, tree = new Tree(`${work}/root`);
  await Deno.mkdir(packages);
  await tree.folder("");
  await run("apt-get", ["download", ...PACKAGES], { cwd: packages });
  for await (const { name } of Deno.readDir(packages)) await run("dpkg-deb", ["-x", `${packages}/${name}`, tree.root]);
  for (const path of LEFT_OUT) await Deno.remove(`${tree.root}/${path}`, { recursive: true }).catch(() => {});
  await mergeUsr(tree.root);
  await tree.write("etc/passwd", `nobody:x:${NOBODY}:${NOBODY}:nobody:/data:/usr/sbin/nologin\n`);
  await tree.write("etc/group", `nogroup:x:${NOBODY}:\n`);
  await tree.write("etc/ssl/certs/ca-certificates.crt", await trusted(tree.root));
  for (const name of ["chat-server", "chat-client"]) await tree.copy(`${programs}/${name}`, `usr/bin/${name}`, 0o755);
  await tree.folder("tmp");
  await tree.folder("data");
  await tree.settle(epoch);
  await Deno.chmod(`${tree.root}/tmp`, 0o1777);
  await Deno.chmod(`${tree.root}/data`, 0o700);
  await Deno.chown(`${tree.root}/data`, NOBODY, NOBODY); // neither changes a time that is packed
  return tree.root;
}

/** Moves /lib and its like into /usr, as Debian's systems have them: the packages alone still have both. */
async function mergeUsr(root: string): Promise<void> {
  for (const name of ["lib", "lib64", "bin", "sbin"]) {
    if ((await Deno.lstat(`${root}/${name}`).catch(() => undefined))?.isDirectory) {
      await run("cp", ["-a", `${root}/${name}/.`, `${root}/usr/${name}/`]).catch(async () => {
        await Deno.mkdir(`${root}/usr/${name}`, { recursive: true });
        await run("cp", ["-a", `${root}/${name}/.`, `${root}/usr/${name}/`]);
      });
      await Deno.remove(`${root}/${name}`, { recursive: true });
    }
    await Deno.symlink(`usr/${name}`, `${root}/${name}`);
  }
}

/** Joins the certificates as update-ca-certificates would, which cannot run without a system around it. */
async function trusted(root: string): Promise<string> {
  const folder = `${root}/usr/share/ca-certificates/mozilla`;
  const names: string[] = [];
  for await (const { name } of Deno.readDir(folder)) names.push(name);
  const texts = await Promise.all(names.sort().map((name) => Deno.readTextFile(`${folder}/${name}`)));
  return texts.join("");
}
