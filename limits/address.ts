/** Who is at the other end, as far as an address and a page's origin tell. */

/** Whether an address is this machine's own. */
export function isLoopback(address: string): boolean {
  return address === "localhost" || address === "::1" || /^127\.\d+\.\d+\.\d+$/.test(address) ||
    address.startsWith("::ffff:127.");
}

/**
 * The address that a request counts for. `X-Forwarded-For` is believed only as far as there are proxies of ours in front: each
 * adds the address it sees to the end, so the one that the outermost of `hops` proxies added is the client's.
 */
export function clientAddress(remote: string, forwarded: string | null, hops: number): string {
  const chain = forwarded?.split(",").map((entry) => entry.trim()).filter((entry) => entry !== "") ?? [];
  return hops === 0 ? remote : chain.at(-Math.min(hops, chain.length)) ?? remote;
}

/** What an address is counted under: a customer of IPv6 has a whole /64. */
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

/**
 * Whether a page of this origin may connect: one of the server's own host, or one that is allowed by name. Programs other than
 * browsers send no origin, and no cookies that a page could abuse.
 */
export function isOriginAllowed(origin: string | null, host: string | null, allowed: readonly string[]): boolean {
  if (origin === null) return true;
  if (allowed.includes("*") || allowed.includes(origin)) return true;
  return URL.canParse(origin) && new URL(origin).host === host;
}
