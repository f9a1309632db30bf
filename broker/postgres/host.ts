/** Hosts of PostgreSQL. */

/** One server of an installation; `path` is its Unix socket, for which `host` is empty. */
export interface Host {
  readonly host: string;
  readonly port: number;
  readonly path: string | undefined;
}

/** Returns a host for logs and errors. */
export function placeOf({ host, port, path }: Host): string {
  return path ?? `${host.includes(":") ? `[${host}]` : host}:${port}`;
}
