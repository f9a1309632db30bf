/** Programs that packaging needs. */

/** A program that is not installed: what it makes is skipped, in words. */
export class MissingProgram extends Error {
  override readonly name = "MissingProgram";
}

/** Runs a program to its end; returns its standard output. Throws {@linkcode MissingProgram}, and an error with its words. */
export async function run(command: string, args: readonly string[], options: Deno.CommandOptions = {}): Promise<string> {
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(command, { ...options, args: [...args], stdin: "null" }).output();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw new MissingProgram(`${command} is not installed`);
    throw error;
  }
  const decoder = new TextDecoder();
  if (output.success) return decoder.decode(output.stdout);
  const words = (decoder.decode(output.stderr) + decoder.decode(output.stdout)).trim();
  throw new Error(`${command} ${args[0] ?? ""} ended with status ${output.code}: ${words}`);
}
