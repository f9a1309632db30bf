/** The page for browsers, as `deno task web` built it: read once, served from memory, already compressed. */

import type { Head } from "./head.ts";
import type { ServerValues } from "./options.ts";

/** Folder of the built page: beside this checkout's sources, and in a binary among the files that are compiled in. */
const BUILT = new URL("../web/dist/", import.meta.url);
/** Seconds in a year: for files whose name changes with their content. */
const FOREVER_S = 31_536_000;
/** Encodings that the build makes, best first. */
const ENCODINGS = [["br", ".br"], ["gzip", ".gz"]] as const;

/**
 * Content security policy of the page. Everything comes from this server; nothing is inline; the one script address that is
 * made at run time, the service worker's, goes through the policy `parley`.
 */
const CONTENT_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "manifest-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types parley",
].join("; ");

const HEADERS = {
  "content-security-policy": CONTENT_POLICY,
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/** A file that is served. */
interface Asset {
  readonly headers: Readonly<Record<string, string>>;
  /** A weak one: all encodings have it in common. */
  readonly etag: string;
  /** Content by encoding; "" for none. */
  readonly bodies: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
}

/** Contents of files.json. */
interface Built {
  readonly files: readonly { readonly path: string; readonly type: string }[];
}

/** The page and what it loads. */
export class WebAssets {
  readonly #assets: ReadonlyMap<string, Asset>;
  readonly #page: Asset;

  private constructor(assets: ReadonlyMap<string, Asset>, page: Asset) {
    this.#assets = assets;
    this.#page = page;
  }

  /**
   * Reads the built page from a folder; undefined where there is none. `login`: the page asks for a token, or for a name.
   */
  static read(login: "token" | "name", folder: URL = BUILT): WebAssets | undefined {
    try {
      const { files }: Built = JSON.parse(Deno.readTextFileSync(new URL("files.json", folder)));
      const assets = new Map<string, Asset>();
      let page: Asset | undefined;
      for (const { path, type } of files) {
        const asset = readAsset(folder, path, type);
        if (path === `page-${login}.html`) page = asset;
        else if (!path.endsWith(".html")) assets.set(`/${path}`, asset);
      }
      return page && new WebAssets(assets, page);
    } catch {
      return undefined; // it was not built, or only half
    }
  }

  /** Paths of everything beside the page. */
  get paths(): Iterable<string> {
    return this.#assets.keys();
  }

  /** Answers a request for one of {@linkcode paths}. */
  asset(path: string, request: Head): Response {
    return answer(this.#assets.get(path)!, request);
  }

  /** Answers with the page; undefined for a client that does not ask for HTML. */
  page(request: Head): Response | undefined {
    return accepts(request.headers.get("accept"), "text/html") ? answer(this.#page, request) : undefined;
  }
}

/** Opens the page for a command line; undefined where it is not wanted or not there. */
export function openWebAssets(values: ServerValues, hasTokens: boolean): WebAssets | undefined {
  return values["no-web"] ? undefined : WebAssets.read(hasTokens ? "token" : "name");
}

function readAsset(folder: URL, path: string, type: string): Asset {
  const bodies = new Map([["", Deno.readFileSync(new URL(path, folder))]]);
  for (const [encoding, end] of ENCODINGS) {
    const body = readIfThere(new URL(path + end, folder));
    if (body) bodies.set(encoding, body);
  }
  const isHashed = path.startsWith("assets/");
  const isPage = path.endsWith(".html");
  return {
    headers: {
      ...HEADERS,
      "content-type": type,
      "cache-control": isPage ? "no-store" : isHashed ? `public, max-age=${FOREVER_S}, immutable` : "no-cache",
      vary: isPage ? "accept, accept-encoding" : "accept-encoding",
    },
    etag: `W/"${hashOf(bodies.get("")!)}"`,
    bodies,
  };
}

function readIfThere(file: URL): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Deno.readFileSync(file);
  } catch {
    return undefined; // what does not get smaller is not compressed
  }
}

/** FNV-1a, 64 bits: tells versions of a file apart, and nothing depends on it. */
function hashOf(bytes: Uint8Array): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16);
}

function answer({ headers, etag, bodies }: Asset, request: Head): Response {
  const isKept = headers["cache-control"] !== "no-store";
  if (isKept && hasTag(request.headers.get("if-none-match"), etag)) {
    return new Response(null, { status: 304, headers: { ...headers, etag } });
  }
  const accepted = request.headers.get("accept-encoding");
  const [encoding] = ENCODINGS.find(([name]) => bodies.has(name) && accepts(accepted, name)) ?? [""];
  const body = bodies.get(encoding)!;
  return new Response(body, {
    headers: {
      ...headers,
      "content-length": String(body.length),
      ...encoding === "" ? {} : { "content-encoding": encoding },
      ...isKept ? { etag } : {},
    },
  });
}

/** Returns whether a list of entity tags has one, weak or strong: proxies that compress make them weak. */
function hasTag(header: string | null, etag: string): boolean {
  const opaque = (tag: string) => tag.trim().replace(/^W\//, "");
  return (header ?? "").split(",").some((tag) => tag.trim() === "*" || opaque(tag) === opaque(etag));
}

/** Returns whether a list such as `text/html, br;q=0.5` names `wanted`, and not with a weight of zero. */
function accepts(header: string | null, wanted: string): boolean {
  return (header ?? "").split(",").some((entry) => {
    const [name, ...parameters] = entry.split(";").map((part) => part.trim().toLowerCase());
    return name === wanted && !parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter));
  });
}
