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

/** The time and the name for which {@linkcode oddCertificate} makes a certificate; times as openssl has them: `20200101000000Z`. */
export interface Oddity {
  readonly from?: string;
  readonly to?: string;
  readonly name?: string;
  /** Names that it is for, as openssl has them; default: `DNS:` and the name. */
  readonly san?: string;
}

/** Makes a certificate of the authority in `dir` for another time, or for another name. Returns its files. */
export async function oddCertificate(
  dir: string,
  { from, to, name = "localhost", san }: Oddity,
): Promise<{ cert: string; key: string }> {
  const at = (file: string) => `${dir}/odd-${file}`;
  const [cert, key, request, config] = [at("cert.pem"), at("key.pem"), at("csr"), at("conf")];
  await Deno.writeTextFile(at("index"), "");
  await Deno.writeTextFile(
    at("extensions"),
    name === "localhost" && !san ? EXTENSIONS : `subjectAltName=${san ?? `DNS:${name}`}\n`,
  );
  await Deno.writeTextFile(
    config,
    `[ca]\ndefault_ca=c\n[c]\ndatabase=${
      at("index")
    }\nrand_serial=yes\nnew_certs_dir=${dir}\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n`,
  );
  await openssl("req", ...CURVE, "-subj", `/CN=${name}`, "-keyout", key, "-out", request);
  const time = ["-startdate", from ?? "20200101000000Z", "-enddate", to ?? "20400101000000Z"];
  const authority = ["-cert", filesIn(dir).ca, "-keyfile", `${dir}/ca.key`];
  const files = ["-in", request, "-extfile", at("extensions"), "-out", cert];
  await openssl("ca", "-batch", "-notext", "-config", config, ...authority, ...time, ...files);
  return { cert, key };
}

async function openssl(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("openssl", { args, stdin: "null", stdout: "null", stderr: "piped" })
    .output();
  assert(success, new TextDecoder().decode(stderr));
}
