/**
 * Addresses that a webhook may be sent to: of the internet, unless the operator says otherwise. A server behind a firewall that
 * posts wherever a file says is a way in; so is a name that leads to one address when it is checked, and to another when it is
 * connected to.
 */

/** Ranges that are not the internet's: first address, bits of the prefix, and what they are. */
const REFUSED: readonly (readonly [first: string, bits: number, words: string])[] = [
  ["0.0.0.0", 8, "this machine"],
  ["10.0.0.0", 8, "private"],
  ["100.64.0.0", 10, "a provider's own (CGNAT)"],
  ["127.0.0.0", 8, "loopback"],
  ["169.254.0.0", 16, "link-local"],
  ["172.16.0.0", 12, "private"],
  ["192.0.0.0", 24, "reserved"],
  ["192.0.2.0", 24, "for documents"],
  ["192.88.99.0", 24, "a relay's"],
  ["192.168.0.0", 16, "private"],
  ["198.18.0.0", 15, "for measurements"],
  ["198.51.100.0", 24, "for documents"],
  ["203.0.113.0", 24, "for documents"],
  ["224.0.0.0", 4, "multicast"],
  ["240.0.0.0", 4, "reserved"],
];
/** The same of IPv6. What is not in 2000::/3 is nobody's on the internet. */
const REFUSED_V6: readonly (readonly [first: string, bits: number, words: string])[] = [
  ["2001::", 23, "reserved"],
  ["2001:db8::", 32, "for documents"],
  ["3fff::", 20, "for documents"],
];
const GLOBAL_V6: readonly [first: string, bits: number] = ["2000::", 3];
/** Prefixes after which the last or the following 32 bits are an IPv4 address: mapped, translated, 6to4. */
const EMBEDDED: readonly (readonly [first: string, bits: number, at: number])[] = [
  ["::", 96, 12],
  ["::ffff:0:0", 96, 12],
  ["::ffff:0:0:0", 96, 12],
  ["64:ff9b::", 96, 12],
  ["64:ff9b:1::", 48, 12],
  ["2002::", 16, 2],
];

/** Returns why nothing is sent to an address, as a few words; undefined for one of the internet. */
export function whyRefused(address: string): string | undefined {
  const bytes = bytesOf(address);
  if (!bytes) return "no address";
  return bytes.length === 4 ? whyRefusedV4(bytes) : whyRefusedV6(bytes);
}

/** Returns the same of the host of a URL that is an address itself, or this machine's name; undefined for what has to be looked up. */
export function whyHostRefused({ hostname }: URL): string | undefined {
  const host = hostname.replace(/^\[|\]$/g, "");
  if (host === "localhost" || host.endsWith(".localhost")) return "loopback";
  return bytesOf(host) && whyRefused(host);
}

function whyRefusedV4(bytes: readonly number[]): string | undefined {
  return REFUSED.find(([first, bits]) => isIn(bytes, first, bits))?.[2];
}

function whyRefusedV6(bytes: readonly number[]): string | undefined {
  for (const [first, bits, at] of EMBEDDED) {
    if (!isIn(bytes, first, bits)) continue;
    const inner = bytes.slice(at, at + 4);
    // :: and ::1 have the form of an embedded 0.0.0.0/8.
    return whyRefusedV4(inner);
  }
  if (!isIn(bytes, ...GLOBAL_V6)) return "not of the internet";
  return REFUSED_V6.find(([first, bits]) => isIn(bytes, first, bits))?.[2];
}

function isIn(bytes: readonly number[], first: string, bits: number): boolean {
  const prefix = bytesOf(first)!;
  if (prefix.length !== bytes.length) return false;
  for (let bit = 0; bit < bits; bit++) {
    const at = bit >> 3, mask = 0x80 >> (bit & 7);
    if ((bytes[at]! & mask) !== (prefix[at]! & mask)) return false;
  }
  return true;
}

/** Returns the 4 or 16 bytes of an address; undefined for what is none. A zone, as in `fe80::1%eth0`, counts for nothing. */
export function bytesOf(address: string): number[] | undefined {
  const text = address.split("%")[0]!;
  return text.includes(":") ? v6Of(text) : v4Of(text);
}

function v4Of(text: string): number[] | undefined {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  return parts?.every((part) => part < 256) ? parts : undefined;
}

function v6Of(text: string): number[] | undefined {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (dotted) {
    const v4 = v4Of(dotted[2]!);
    if (!v4) return undefined;
    const hex = (high: number, low: number) => ((high << 8) | low).toString(16);
    return v6Of(`${dotted[1]}${hex(v4[0]!, v4[1]!)}:${hex(v4[2]!, v4[3]!)}`);
  }
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half) => half === "" ? [] : half.split(":"));
  const missing = 8 - head!.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head!, ...Array<string>(tail === undefined ? 0 : missing).fill("0"), ...tail ?? []];
  if (!groups.every((group) => /^[\da-f]{1,4}$/i.test(group))) return undefined;
  return groups.flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 0xff]);
}
