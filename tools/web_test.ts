import { assert, assertEquals } from "@std/assert";
import { CAN_RUN } from "../testing/permissions.ts";
import { ensurePage } from "./web.ts";

const DIST = new URL("../web/dist/", import.meta.url);
/** Bytes of all JavaScript, compressed with gzip: a page that opens at once on a poor connection. */
const SCRIPT_BYTES_MAX = 45 * 1_024;
/** Bytes of everything that a first visit can load, compressed with gzip. */
const ALL_BYTES_MAX = 60 * 1_024;

Deno.test({
  name: "the page is small: its scripts, and everything together",
  ignore: !CAN_RUN,
  fn: async () => {
    await assertPage();
    let scripts = 0, all = 0;
    for (const { path, type } of (await readBuilt()).files) {
      if (path === "page-token.html") continue; // a server has one of both
      const bytes = await compressedBytes(path);
      all += bytes;
      if (type.startsWith("text/javascript")) scripts += bytes;
    }
    assert(scripts <= SCRIPT_BYTES_MAX, `${scripts} bytes of JavaScript`);
    assert(all <= ALL_BYTES_MAX, `${all} bytes in all`);
  },
});

Deno.test({
  name: "the page is built once for the same sources, and has no inline script or style",
  ignore: !CAN_RUN,
  fn: async () => {
    await assertPage();
    assertEquals(await ensurePage(), { state: "there" });
    for (const login of ["name", "token"]) {
      const html = await Deno.readTextFile(new URL(`page-${login}.html`, DIST));
      assert(html.includes(`data-login="${login}"`));
      assert(!/<style|<script(?![^>]* src=)|style=|\son\w+=/.test(html));
      assert(!/(?:src|href)="\/|https?:/.test(html), "addresses are relative");
    }
  },
});

async function assertPage(): Promise<void> {
  const page = await ensurePage();
  assert(page.state !== "missing", "reason" in page ? page.reason : "");
}

async function readBuilt(): Promise<{ files: { path: string; type: string }[] }> {
  return JSON.parse(await Deno.readTextFile(new URL("files.json", DIST)));
}

async function compressedBytes(path: string): Promise<number> {
  const compressed = await Deno.stat(new URL(`${path}.gz`, DIST)).catch(() => undefined);
  return (compressed ?? await Deno.stat(new URL(path, DIST))).size;
}
