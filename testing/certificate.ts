/** Certificates for tests, made by openssl. */

import { assert } from "@std/assert";

const CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
const EXTENSIONS = "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";

/** The files that {@linkcode certificate} makes in `dir`. */
export function filesIn(dir: string): { ca: string; cert: string; key: string } {
  return { ca: `${dir}/ca.pem`, cert: `${dir}/leaf.pem`, key: `${dir}/leaf.key` };
}

/** Makes a certificate for this machine with this serial number, and with the first one the authority that vouches for all. */
export async function certificate(dir: string, serial = 1): Promise<void> {
  const { ca, cert, key } = filesIn(dir);
  const caKey = `${dir}/ca.key`, request = `${dir}/leaf.csr`, extensions = `${dir}/extensions`;
  if (serial === 1) {
    await openssl("req", "-x509", ...CURVE, "-days", "1", "-subj", "/CN=test authority", "-keyout", caKey, "-out", ca);
  }
  await Deno.writeTextFile(extensions, EXTENSIONS);
  await openssl("req", ...CURVE, "-subj", "/CN=localhost", "-keyout", key, "-out", request);
  const authority = ["-CA", ca, "-CAkey", caKey, "-set_serial", String(serial), "-days", "1"];
  await openssl("x509", "-req", "-in", request, ...authority, "-extfile", extensions, "-out", cert);
}

async function openssl(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("openssl", { args, stdin: "null", stdout: "null", stderr: "piped" })
    .output();
  assert(success, new TextDecoder().decode(stderr));
}
