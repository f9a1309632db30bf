import { assertStringIncludes, assertThrows } from "@std/assert";
import { KeyError } from "../auth/tokens.ts";
import { certificate, filesIn } from "../testing/certificate.ts";
import { CAN_RUN, lacksProgram } from "../testing/permissions.ts";
import { readCertificate } from "./certificate.ts";

Deno.test({
  name: "a certificate or key that cannot be used is refused with its file and what is wrong with it",
  ignore: !CAN_RUN || lacksProgram("openssl", ["version"]),
  async fn() {
    const dir = await Deno.makeTempDir({ prefix: "cert-" });
    await certificate(dir, 1);
    const { ca, cert, key } = filesIn(dir);
    const file = `${dir}/wrong.pem`;
    const certText = Deno.readTextFileSync(cert), keyText = Deno.readTextFileSync(key);
    const damage = (text: string) => text.replace(/\n[A-Za-z0-9+/]{20}/, "\n!!!!");
    const cases: [string, string, string, string][] = [
      ["cert", keyText, "--cert", "There is no certificate"],
      ["cert", "", "--cert", "it is empty"],
      ["cert", certText.slice(0, 100), "--cert", "cut off"],
      ["cert", damage(certText), "--cert", "is damaged"],
      ["key", certText, "--key", "There is no private key"],
      ["key", keyText.replaceAll("PRIVATE", "ENCRYPTED PRIVATE"), "--key", "passphrase"],
      ["key", keyText.replace(/\n[A-Za-z0-9+/]{20}/, "\nAAAAAAAAAAAAAAAAAAAA"), "--key", "damaged"],
    ];
    for (const [option, text, named, words] of cases) {
      Deno.writeTextFileSync(file, text);
      const error = assertThrows(() => readCertificate({ cert, key, [option]: file }), KeyError);
      assertStringIncludes(error.message, `${named} ${file}: `);
      assertStringIncludes(error.message, words);
    }
    const mismatch = assertThrows(() => readCertificate({ cert: ca, key }), KeyError);
    assertStringIncludes(mismatch.message, `--key ${key} does not belong to --cert ${ca}`);
    Deno.writeTextFileSync(file, "\uFEFFBag Attributes\n" + certText);
    readCertificate({ cert: file, key });
    await Deno.remove(dir, { recursive: true });
  },
});
