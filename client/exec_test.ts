import { assertThrows } from "@std/assert";
import { UsageError } from "../cli/options.ts";
import { checkProgram, type ExecPlace } from "./exec.ts";

const PLACE: ExecPlace = {
  path: "/usr/bin::/bin",
  os: "linux",
  isProgram: (file) => ["/bin/cat", "./answer.sh", "/opt/bot"].includes(file),
};

Deno.test("checkProgram finds programs on the PATH and by their path, and says what to do about others", () => {
  for (const command of ["cat", " cat -n", "./answer.sh --fast", "/opt/bot"]) checkProgram(command, PLACE);
  const refused: [string, string][] = [
    ["answer.sh", "./answer.sh"],
    ["./missing.sh", "chmod +x ./missing.sh"],
    ["  ", "needs a command"],
    ["cats", 'no program "cats"'],
  ];
  for (const [command, words] of refused) assertThrows(() => checkProgram(command, PLACE), UsageError, words);
  checkProgram("anything", { ...PLACE, os: "windows" });
});
