/** Certificate and key for TLS: read, and tried before anybody needs them, so that a wrong file is named. */

import { describe, findBlock, PRIVATE_KEY_REMEDIES } from "../auth/pem.ts";
import { KeyError } from "../auth/tokens.ts";
import { UsageError } from "../cli/options.ts";
import { reasonOf } from "../ops/log.ts";
import { readKey } from "./credentials.ts";
import type { ServerValues } from "./options.ts";
import type { Certificate } from "./transport.ts";

/** Labels of private keys that can be used as they are. */
const KEY_LABELS = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];

/**
 * Reads certificate and key; undefined without TLS. Throws {@linkcode UsageError} for one of both, and {@linkcode KeyError}, which
 * names the file and what is wrong with it.
 */
export function readCertificate({ cert: certFile, key: keyFile }: Pick<ServerValues, "cert" | "key">): Certificate | undefined {
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile === undefined || keyFile === undefined) throw new UsageError("TLS needs both --cert and --key");
  const cert = readKey(certFile), key = readKey(keyFile);
  if (!findBlock(cert, ["CERTIFICATE"])) {
    throw new KeyError(`--cert ${certFile}: There is no certificate (PEM): ${describe(cert, PRIVATE_KEY_REMEDIES)}`);
  }
  if (!findBlock(key, KEY_LABELS)) {
    throw new KeyError(`--key ${keyFile}: There is no private key (PEM): ${describe(key, PRIVATE_KEY_REMEDIES)}`);
  }
  try {
    // The runtime tells what it takes only by listening, here on a port that nobody knows.
    Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key }).close();
  } catch (error) {
    throw new KeyError(whyUnusable(reasonOf(error), certFile, keyFile));
  }
  return { cert, key };
}

function whyUnusable(reason: string, certFile: string, keyFile: string): string {
  if (/decode certificate|certificate data/i.test(reason)) {
    return `--cert ${certFile}: A certificate in it is damaged (${reason})`;
  }
  if (/private key|key data/i.test(reason)) {
    return `--key ${keyFile}: The private key is damaged or of a kind that TLS does not use (${reason})`;
  }
  if (/KeyMismatch/.test(reason)) {
    return `--key ${keyFile} does not belong to --cert ${certFile}, whose first certificate has to be the server's own`;
  }
  return `--cert ${certFile} and --key ${keyFile} cannot be used: ${reason}`;
}
