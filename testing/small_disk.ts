/** A file system that is soon full, for tests of what a full disk does. It takes root: where that is missing such tests say so. */

import { lacks } from "./permissions.ts";

const MOUNT = "mount", TYPE = "tmpfs";

function run(command: string, ...args: string[]): boolean {
  return new Deno.Command(command, { args, stdout: "null", stderr: "null" }).outputSync().success;
}

/** A disk in memory. */
export class SmallDisk implements Disposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Makes one of so many MiB; undefined where this process may not. */
  static make(mib: number): SmallDisk | undefined {
    if (Deno.build.os !== "linux" || Deno.uid() !== 0) return undefined;
    const folder = Deno.makeTempDirSync({ prefix: "parley-disk-" });
    if (run(MOUNT, "-t", TYPE, "-o", `size=${mib}m,mode=755`, TYPE, folder)) return new SmallDisk(folder);
    Deno.removeSync(folder);
    return undefined;
  }

  /** Returns whether this process may make one. */
  static isPossible(): boolean {
    using disk = lacks("run", "write", "sys") ? undefined : SmallDisk.make(1);
    return disk !== undefined;
  }

  /** Takes all that is free. */
  fill(): void {
    run("dd", "if=/dev/zero", `of=${this.folder}/full`, "bs=64k");
  }

  /** Frees that. */
  free(): void {
    Deno.removeSync(`${this.folder}/full`);
  }

  [Symbol.dispose](): void {
    run("umount", "-l", this.folder);
    Deno.removeSync(this.folder);
  }
}
