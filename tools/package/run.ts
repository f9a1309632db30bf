/** Programs that packaging needs. */

/** Something that cannot be made here, for want of a program or of a right: it is skipped, in words. */
export class Unmakeable extends Error {
  override readonly name = "Unmakeable";
}

/** Runs a program to its end; returns its standard output. Throws {@linkcode Unmakeable}, and an error with its words. */
export async function run(command: string, args: readonly string[], options: Deno.CommandOptions = {}): Promise<string> {
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(command, { ...options, args: [...args], stdin: "null" }).output();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw new Unmakeable(`${command} is not installed`);
    throw error;
  }
  const decoder = new TextDecoder();
  if (output.success) return decoder.decode(output.stdout);
  const words = (decoder.decode(output.stderr) + decoder.decode(output.stdout)).trim();
  throw new Error(`${command} ${args[0] ?? ""} ended with status ${output.code}: ${words}`);
}
