/**
 * Permissions and programs that a test needs and may lack. Plain `deno test` passes: a test that lacks a permission or a program is ignored, and the
 * reporter says so.
 *
 * ```ts
 * Deno.test({ name: "…", ignore: lacks("net", "read"), fn: async () => {} });
 * Deno.test({ name: "…", ignore: lacksProgram("tmux"), fn: async () => {} });
 * ```
 */

type PermissionName = "env" | "ffi" | "net" | "read" | "run" | "sys" | "write";

/** Returns whether one of the permissions is not granted. Asks nobody. */
export function lacks(...names: PermissionName[]): boolean {
  return names.some((name) => Deno.permissions.querySync({ name }).state !== "granted");
}

/** True where programs can be started and talked to, as tests of whole processes need. */
export const CAN_RUN = !lacks("env", "net", "read", "run", "write");

/**
 * Returns whether a program is missing: permission to run it, or the program itself. Where `CI` is set every program must be
 * there: the test is not ignored then, and fails.
 */
export function lacksProgram(command: string, args: readonly string[] = ["--version"]): boolean {
  if (lacks("run", "env")) return true;
  if (Deno.env.get("CI") === "true") return false;
  try {
    return !new Deno.Command(command, { args: [...args], stdin: "null", stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return true;
  }
}
