/**
 * `deno task cluster`: a PostgreSQL of its own in a temporary folder and three nodes on free ports, to try many nodes out on one
 * machine. Ctrl-C ends all of it, and removes the folder.
 */

import { LACKS_POSTGRES, PostgresServer } from "../testing/postgres.ts";
import { fromSource, RunningServer } from "../testing/process.ts";

const NODES = ["a", "b", "c"];

async function main(): Promise<number> {
  if (LACKS_POSTGRES) {
    console.error("cluster: there is no PostgreSQL here; install it (Debian: apt-get install postgresql)");
    return 1;
  }
  await using postgres = new PostgresServer();
  const url = postgres.url();
  console.log(`PostgreSQL in ${postgres.folder}: ${url}\n`);
  await using stack = new AsyncDisposableStack();
  for (const name of NODES) {
    const args = ["--quiet", "--postgres", url, "--node", name];
    const node = stack.use(await RunningServer.start(fromSource("server"), args));
    console.log(`node ${name}: deno task client --name alice --server ${node.url}`);
  }
  console.log(`
Take another name in each, and send from one to the other: --name bob --to alice.
A node more: deno task server --port 0 --postgres ${url} --node d
What is stored: psql ${url} -c 'SELECT * FROM parley.messages'
Ctrl-C ends all of it, and removes the folder.`);
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, resolve);
  });
  console.log("Ending");
  return 0;
}

if (import.meta.main) Deno.exit(await main());
