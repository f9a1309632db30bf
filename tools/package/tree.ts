/** Trees of files as packages have them: made in a folder, with modes and times that do not depend on when or by whom. */

import { gzipSync } from "node:zlib";
import { run } from "./run.ts";

/** A tree in a folder of its own. */
export class Tree {
  readonly root: string;

  /** Takes a folder that is there and empty. */
  constructor(root: string) {
    this.root = root;
  }

  /** Writes a file; its folders are made. Paths have no leading slash. */
  async write(path: string, content: string | Uint8Array, mode = 0o644): Promise<void> {
    const file = await this.#place(path);
    if (typeof content === "string") await Deno.writeTextFile(file, content);
    else await Deno.writeFile(file, content);
    await Deno.chmod(file, mode);
  }

  /** Copies a file from outside; its folders are made. */
  async copy(from: string, path: string, mode = 0o644): Promise<void> {
    const file = await this.#place(path);
    await Deno.copyFile(from, file);
    await Deno.chmod(file, mode);
  }

  /** Makes a folder, and those above it. */
  async folder(path: string, mode = 0o755): Promise<void> {
    await Deno.mkdir(`${this.root}/${path}`, { recursive: true });
    await Deno.chmod(`${this.root}/${path}`, mode);
  }

  async #place(path: string): Promise<string> {
    const file = `${this.root}/${path}`;
    await Deno.mkdir(file.slice(0, file.lastIndexOf("/")), { recursive: true });
    return file;
  }

  /** Sets the modes of folders, and all times, those of links too, to `epoch` in seconds since 1970. */
  async settle(epoch: number): Promise<void> {
    await run("find", [this.root, "-type", "d", "-exec", "chmod", "755", "{}", "+"]);
    await run("find", [this.root, "-depth", "-exec", "touch", "--no-dereference", "--date", `@${epoch}`, "{}", "+"]);
  }
}

/** Compresses as `gzip -9n` does: no name and no time in it. */
export function gzip(text: string): Uint8Array {
  const bytes = new Uint8Array(gzipSync(text, { level: 9 }));
  bytes[9] = 3; // made on Unix, whatever this machine is
  return bytes;
}
