/** The certificate that a server shows, whether it is to be trusted or not: what is wrong with it can be said. */

import tls from "node:tls";

/** The time in which a certificate is valid, in milliseconds since 1970; `NaN` where it cannot be read. */
export interface PeerCertificate {
  readonly from: number;
  readonly to: number;
}

/** Returns the certificate of a server; undefined where there is none, as it does not speak TLS. Never rejects. */
export function peerCertificate(host: string, port: number): Promise<PeerCertificate | undefined> {
  return new Promise((resolve) => {
    try {
      // Nothing is sent over it: what it is not verified for is to see what could not be verified.
      const socket = tls.connect(
        { host, port, rejectUnauthorized: false, ...(isAddress(host) ? {} : { servername: host }) },
        () => {
          const { valid_from: from, valid_to: to } = socket.getPeerCertificate();
          socket.destroy();
          resolve(from && to ? { from: Date.parse(from), to: Date.parse(to) } : undefined);
        },
      );
      socket.on("error", () => {
        socket.destroy();
        resolve(undefined);
      });
      socket.on("close", () => resolve(undefined));
    } catch {
      resolve(undefined);
    }
  });
}

function isAddress(host: string): boolean {
  return host.includes(":") || /^[\d.]+$/.test(host);
}
