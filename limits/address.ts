/** Addresses of peers and of listeners: which are this machine, which count as one, how one is written in a URL. */

/** Returns whether an address is this machine's own. */
export function isLoopback(address: string): boolean {
  return address === "localhost" || address === "::1" || /^127\.\d+\.\d+\.\d+$/.test(address) ||
    address.startsWith("::ffff:127.");
}

/** Returns a host and a port as a URL has them, an address of IPv6 in brackets. */
export function placeOf(hostname: string, port: number): string {
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

/** Returns an address at which a server is reached that listens on `hostname`. */
export function reachable(hostname: string): string {
  return hostname === "0.0.0.0" ? "127.0.0.1" : hostname === "::" ? "::1" : hostname;
}

/** Returns whether listening on an address is listening on every address of this machine. */
export function isUnspecified(address: string): boolean {
  return address === "0.0.0.0" || /^[0:]+$/.test(address) || /^::ffff:(0\.0\.0\.0|0+:0+)$/i.test(address);
}

/**
 * Returns the address that a request counts for. `X-Forwarded-For` is believed only as far as there are proxies of ours in front:
 * each adds the address it sees to the end, so the one that the outermost of `hops` proxies added is the client's. An entry that
 * is no address is not believed: then the request counts for the nearest proxy.
 */
export function clientAddress(remote: string, forwarded: string | null, hops: number): string {
  const chain = forwarded?.split(",").map((entry) => entry.trim()).filter((entry) => entry !== "") ?? [];
  if (hops === 0 || chain.length === 0) return remote;
  return withoutPort(chain.at(-Math.min(hops, chain.length))!) ?? remote;
}

/** Returns the address in `1.2.3.4`, `1.2.3.4:5678`, `2001:db8::1` or `[2001:db8::1]:5678`, as proxies write it; undefined for others. */
function withoutPort(text: string): string | undefined {
  const [, v4, bracketed, plain] =
    /^(?:(\d{1,3}(?:\.\d{1,3}){3})(?::\d+)?|\[([\da-f:.]+)\](?::\d+)?|([\da-f]*:[\da-f:.]+))$/i.exec(text) ??
      [];
  return v4 ?? bracketed ?? plain;
}

/** Returns the key that an address is counted under: itself, or for IPv6 its /64, which one customer has as a whole. */
export function addressKey(address: string): string {
  if (!address.includes(":") || address.startsWith("::ffff:")) return address.replace("::ffff:", "");
  const [head = "", tail] = address.split("%")[0]!.split("::");
  const groups = head.split(":").filter((group) => group !== "");
  if (tail !== undefined) {
    const rest = tail.split(":").filter((group) => group !== "");
    groups.push(...Array<string>(Math.max(0, 8 - groups.length - rest.length)).fill("0"), ...rest);
  }
  return groups.slice(0, 4).map((group) => group.replace(/^0+(?=.)/, "").toLowerCase()).join(":") + "::/64";
}
