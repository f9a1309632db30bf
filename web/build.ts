/**
 * `deno task web`: builds the page into web/dist, for the server to read at its start.
 *
 * Scripts, styles, icons and the manifest have names with a hash and are in assets/; the page stands twice, for servers with
 * tokens and without. Beside each file that gets smaller stand its gzip and Brotli forms. files.json tells the server of all.
 */

import { Buffer } from "node:buffer";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import * as esbuild from "esbuild";

/** A built file, as the server reads of it. */
interface Built {
  readonly path: string;
  readonly type: string;
  readonly bytes: Uint8Array;
}

const HERE = new URL("./", import.meta.url);
const DIST = new URL("dist/", HERE);
/** Browsers since spring of 2024: those that have `light-dark()`. */
const TARGETS = ["chrome123", "firefox121", "safari17.5"];
const TYPES: Record<string, string> = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  png: "image/png",
  svg: "image/svg+xml",
  webmanifest: "application/manifest+json",
};
/** Hexadecimal digits of a hash in a name. */
const HASH_CHARS = 10;

if (import.meta.main) await build(Deno.args[0] ?? "");

/** Builds everything; `sources` is the hash of the sources, by which others see whether to build again. */
async function build(sources: string): Promise<void> {
  try {
    const files = await makeFiles();
    await write(files, sources);
  } finally {
    await esbuild.stop();
  }
}

async function makeFiles(): Promise<Built[]> {
  const assets: Built[] = [];
  const add = async (name: string, content: string | Uint8Array): Promise<string> => {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    const [stem, end] = [name.slice(0, name.lastIndexOf(".")), name.slice(name.lastIndexOf(".") + 1)];
    const path = `assets/${stem}-${await hashOf(bytes)}.${end}`;
    assets.push({ path, type: TYPES[end]!, bytes });
    return path;
  };
  const icon = await add("icon.svg", await Deno.readTextFile(new URL("icons/icon.svg", HERE)));
  const icon192 = await add("icon-192.png", await Deno.readFile(new URL("icons/icon-192.png", HERE)));
  const icon512 = await add("icon-512.png", await Deno.readFile(new URL("icons/icon-512.png", HERE)));
  const names: Record<string, string> = {
    ICON_SVG: icon,
    ICON_192: icon192,
    MANIFEST: await add("parley.webmanifest", manifest(icon, icon192, icon512)),
    STYLES: await add("page.css", await bundle("styles/page.css")),
    SCRIPT: await add("page.js", await bundle("main.tsx")),
  };
  const shell = assets.map(({ path }) => path);
  const id = await hashOf(new TextEncoder().encode(shell.join()));
  const worker = await bundle("worker.ts", { SHELL: JSON.stringify(shell), BUILD: JSON.stringify(id) });
  const template = await Deno.readTextFile(new URL("page.html", HERE));
  const page = (login: string) =>
    new TextEncoder().encode(
      template.replace(/\b[A-Z]+(?:_[A-Z0-9]+)?\b/g, (word) => word === "LOGIN" ? login : names[word] ?? word),
    );
  return [
    ...assets,
    { path: "worker.js", type: TYPES.js!, bytes: worker },
    { path: "page-name.html", type: TYPES.html!, bytes: page("name") },
    { path: "page-token.html", type: TYPES.html!, bytes: page("token") },
  ];
}

async function bundle(entry: string, define: Record<string, string> = {}): Promise<Uint8Array> {
  const { outputFiles } = await esbuild.build({
    entryPoints: [fileURLToPath(new URL(entry, HERE))],
    absWorkingDir: fileURLToPath(HERE),
    bundle: true,
    write: false,
    minify: true,
    format: "esm",
    target: TARGETS,
    charset: "utf8",
    legalComments: "none",
    jsx: "automatic",
    jsxImportSource: "preact",
    logLevel: "error",
    define,
  });
  return outputFiles[0]!.contents;
}

/** The manifest: its addresses are relative to its own, which is in assets/. */
function manifest(icon: string, icon192: string, icon512: string): string {
  const image = (src: string, sizes: string, type: string, purpose = "any") => ({ src: `../${src}`, sizes, type, purpose });
  return JSON.stringify({
    name: "Parley",
    short_name: "Parley",
    description: "Messages on your own server.",
    id: "../",
    start_url: "../",
    scope: "../",
    display: "standalone",
    background_color: "#f7f5f0",
    theme_color: "#0f6a63",
    icons: [
      image(icon, "any", "image/svg+xml"),
      image(icon192, "192x192", "image/png"),
      image(icon512, "512x512", "image/png"),
      image(icon512, "512x512", "image/png", "maskable"),
    ],
  });
}

async function hashOf(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes.slice());
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("").slice(0, HASH_CHARS);
}

/** Writes beside what is there and puts it in its place at the end: a server that starts meanwhile reads one or the other. */
async function write(files: readonly Built[], sources: string): Promise<void> {
  const out = new URL(`dist.tmp-${Deno.pid}/`, HERE);
  await Deno.mkdir(new URL("assets/", out), { recursive: true });
  for (const { path, bytes } of files) {
    await Deno.writeFile(new URL(path, out), bytes);
    const gzip = gzipSync(bytes, { level: 9 });
    const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
    const brotli = brotliCompressSync(Buffer.from(bytes), { params });
    if (gzip.length >= bytes.length) continue;
    await Deno.writeFile(new URL(`${path}.gz`, out), gzip);
    await Deno.writeFile(new URL(`${path}.br`, out), brotli);
  }
  const listed = files.map(({ path, type }) => ({ path, type }));
  await Deno.writeTextFile(new URL("files.json", out), JSON.stringify({ sources, files: listed }, null, 2) + "\n");
  await Deno.remove(DIST, { recursive: true }).catch(() => {});
  await Deno.rename(out, DIST);
}
