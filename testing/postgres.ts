/**
 * A PostgreSQL of a test's own, as a user other than root, on loopback, with everything in a temporary folder.
 *
 * One `initdb` serves the whole run: what it makes is copied. Tests that break nothing share a server and take a schema each.
 */

import { lacks } from "./permissions.ts";

/** Folders that Debian and others keep the programs of a version in, beside PATH. */
const FOLDERS = ["/usr/lib/postgresql", "/usr/pgsql"];
/** User that root becomes: PostgreSQL does not run as root. */
const USER = "postgres";
/** Milliseconds between two looks whether a server answers. */
const LOOK_MS = 50;

const DECODER = new TextDecoder();

/** Returns the folder of the programs; undefined where there is no PostgreSQL. */
function programs(): string | undefined {
  if (lacks("read", "run", "env", "net", "write", "sys")) return undefined;
  const found: string[] = [];
  for (const folder of FOLDERS) {
    try {
      for (const { name } of Deno.readDirSync(folder)) found.push(`${folder}/${name}/bin`);
    } catch { /* not here */ }
  }
  found.sort().reverse().push(...(Deno.env.get("PATH") ?? "").split(":"));
  const has = (file: string) => {
    try {
      return Deno.statSync(file).isFile;
    } catch {
      return false;
    }
  };
  return found.find((folder) => ["initdb", "pg_ctl", "pg_basebackup", "psql"].every((program) => has(`${folder}/${program}`)));
}

const BIN = programs();

/** True where there is no PostgreSQL. Where `CI` is set it has to be there: the tests are not ignored then, and fail. */
export const LACKS_POSTGRES = lacks("read", "run", "env", "net", "write", "sys") ||
  (BIN === undefined && Deno.env.get("CI") !== "true");

/** Runs one of the programs as the user that PostgreSQL runs as; throws with what it said. */
export function runAsPostgres(program: string, args: readonly string[], env: Record<string, string> = {}): string {
  if (BIN === undefined) throw new Error("There is no PostgreSQL: install Debian's postgresql");
  const isRoot = Deno.uid() === 0, path = program.includes("/") ? program : `${BIN}/${program}`;
  const command = isRoot ? ["setpriv", `--reuid=${USER}`, `--regid=${USER}`, "--clear-groups", path] : [path];
  const { success, stdout, stderr } = new Deno.Command(command[0]!, {
    args: [...command.slice(1), ...args],
    env: { LC_ALL: "C", ...env },
    cwd: "/",
    stdin: "null",
  }).outputSync();
  if (!success) throw new Error(`${program} failed: ${DECODER.decode(stderr)}${DECODER.decode(stdout)}`);
  return DECODER.decode(stdout);
}

function newFolder(dir = "/tmp"): string {
  const folder = Deno.makeTempDirSync({ dir, prefix: "parley-pg-" });
  if (Deno.uid() === 0) new Deno.Command("chown", { args: [USER, folder] }).outputSync();
  return folder;
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Returns the folder that `initdb` has made for this run. */
function template(): string {
  // Every file of tests has globals of its own; the folder is named after the process that all of them run in.
  const folder = `/tmp/parley-pg-template-${Deno.pid}`;
  try {
    Deno.statSync(`${folder}/PG_VERSION`);
  } catch {
    runAsPostgres("initdb", ["-D", folder, "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "-U", USER, "--no-instructions"]);
    globalThis.addEventListener("unload", () => new Deno.Command("rm", { args: ["-rf", folder] }).outputSync());
  }
  return folder;
}

/** Parts of a {@linkcode PostgresServer}. */
export interface PostgresServerOptions {
  /** Lines of postgresql.conf. */
  readonly settings?: readonly string[];
  /** Folder to make its own in; default: /tmp. */
  readonly dir?: string;
  /** A primary whose standby it is. */
  readonly standbyOf?: PostgresServer;
  /** Lines of pg_hba.conf; default: everybody is who they say. */
  readonly hba?: readonly string[];
  /** Files of the certificate that it speaks TLS with; default: it does not. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** One server. */
export class PostgresServer implements AsyncDisposable {
  readonly port = freePort();
  readonly folder: string;
  #schemas = 0;

  constructor({ settings = [], dir, standbyOf, hba, tls }: PostgresServerOptions = {}) {
    this.folder = newFolder(dir);
    const data = `${this.folder}/data`;
    if (standbyOf) {
      runAsPostgres("pg_basebackup", [
        "-h",
        "127.0.0.1",
        "-p",
        `${standbyOf.port}`,
        "-U",
        USER,
        "-D",
        data,
        "-R",
        "-X",
        "stream",
        "-c",
        "fast",
      ]);
    } else {
      runAsPostgres("/bin/cp", ["-a", template(), data]);
    }
    const lines = [
      "listen_addresses = '127.0.0.1'",
      `port = ${this.port}`,
      "unix_socket_directories = ''",
      "shared_buffers = 64MB",
      "max_connections = 200",
      "log_min_messages = fatal",
      ...tls ? ["ssl = on", "ssl_cert_file = 'server.crt'", "ssl_key_file = 'server.key'"] : [],
      ...settings,
    ];
    if (hba) Deno.writeTextFileSync(`${data}/pg_hba.conf`, hba.join("\n") + "\n");
    if (tls) this.certify(tls);
    Deno.writeTextFileSync(`${data}/postgresql.conf`, "\n" + lines.join("\n") + "\n", { append: true });
    this.start();
  }

  /** Starts it, and waits until it answers. */
  start(): void {
    runAsPostgres("pg_ctl", ["-D", `${this.folder}/data`, "-l", `${this.folder}/log`, "-w", "-t", "60", "start"]);
  }

  /** Stops it: `fast` ends connections, `immediate` is a crash. */
  stop(mode: "fast" | "immediate" = "fast"): void {
    runAsPostgres("pg_ctl", ["-D", `${this.folder}/data`, "-m", mode, "-w", "stop"]);
  }

  /** Makes a standby the primary. */
  promote(): void {
    runAsPostgres("pg_ctl", ["-D", `${this.folder}/data`, "-w", "promote"]);
  }

  /** Adds a line to its configuration and reads it again. */
  set(...lines: string[]): void {
    Deno.writeTextFileSync(`${this.folder}/data/postgresql.conf`, lines.join("\n") + "\n", { append: true });
    runAsPostgres("pg_ctl", ["-D", `${this.folder}/data`, "reload"]);
  }

  /** Gives it another certificate; one that runs takes it with the next {@linkcode set}. */
  certify({ cert, key }: { readonly cert: string; readonly key: string }): void {
    const data = `${this.folder}/data`;
    for (const [from, to] of [[cert, `${data}/server.crt`], [key, `${data}/server.key`]] as const) {
      Deno.writeTextFileSync(to, Deno.readTextFileSync(from), { mode: 0o600 });
      if (Deno.uid() === 0) new Deno.Command("chown", { args: [USER, to] }).outputSync();
    }
  }

  /** Address for users of one database. */
  url(user = USER, password = ""): string {
    return `postgres://${user}${password && `:${password}`}@127.0.0.1:${this.port}/postgres`;
  }

  /** Name of a schema that nobody has. */
  newSchema(): string {
    return `test_${Deno.pid}_${++this.#schemas}`;
  }

  /** Runs SQL and returns what `psql` prints, without decoration. */
  query(sql: string, user = USER): string {
    const args = [
      "-h",
      "127.0.0.1",
      "-p",
      `${this.port}`,
      "-U",
      user,
      "-d",
      "postgres",
      "-qtAX",
      "-v",
      "ON_ERROR_STOP=1",
      "-c",
      sql,
    ];
    return runAsPostgres("psql", args).trim();
  }

  /** Process numbers of it all: those that work in its folder. */
  pids(): number[] {
    const found: number[] = [];
    for (const { name } of Deno.readDirSync("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      try {
        if (Deno.readLinkSync(`/proc/${name}/cwd`) === `${this.folder}/data` && lives(Number(name))) found.push(Number(name));
      } catch { /* it has ended */ }
    }
    return found;
  }

  /** Sends a signal to every process of it. */
  signalAll(signal: Deno.Signal): number[] {
    const pids = this.pids();
    for (const pid of pids) {
      try {
        Deno.kill(pid, signal);
      } catch { /* it has ended */ }
    }
    return pids;
  }

  /** Kills every process of it, and resolves when they are gone; one may have been begun while the others were killed. */
  async crash(): Promise<void> {
    while (this.signalAll("SIGKILL").length > 0) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    // Where nobody waits for orphans, the dead keep their numbers, and PostgreSQL takes its own of before for alive.
    Deno.removeSync(`${this.folder}/data/postmaster.pid`);
  }

  /** Starts it again after it has ended by itself. */
  revive(): void {
    try {
      Deno.removeSync(`${this.folder}/data/postmaster.pid`);
    } catch { /* it has removed it */ }
    this.start();
  }

  [Symbol.asyncDispose](): Promise<void> {
    try {
      this.signalAll("SIGCONT");
      this.stop("immediate");
    } catch { /* it has ended */ }
    new Deno.Command("rm", { args: ["-rf", this.folder] }).outputSync();
    return Promise.resolve();
  }
}

function lives(pid: number): boolean {
  try {
    const state = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1]![0];
    return state !== "Z" && state !== "X";
  } catch {
    return false;
  }
}

let shared: PostgresServer | undefined;

/** The server that tests of one file share. It ends with the process. */
export function sharedPostgres(): PostgresServer {
  if (shared) return shared;
  const server = shared = new PostgresServer();
  globalThis.addEventListener("unload", () => void server[Symbol.asyncDispose]());
  return server;
}
