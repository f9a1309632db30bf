/** Signals of the operating system. */

import { type Log, reasonOf } from "../ops/log.ts";

const IS_WINDOWS = Deno.build.os === "windows";

/** Resolves at the first signal to end; with `hangup` SIGHUP is one. A second signal ends the process at once. */
export async function terminated(hangup: boolean): Promise<void> {
  const signals: Deno.Signal[] = IS_WINDOWS ? ["SIGINT", "SIGBREAK"] : ["SIGINT", "SIGTERM"];
  if (hangup && !IS_WINDOWS) signals.push("SIGHUP");
  let stop = () => {};
  await new Promise<void>((resolve) => {
    stop = resolve;
    for (const signal of signals) Deno.addSignalListener(signal, stop);
  });
  for (const signal of signals) Deno.removeSignalListener(signal, stop);
}

/** Calls `renew` at each SIGHUP, where there is a certificate to renew; returns a function that stops it. */
export function renewOnHangup(renew: (() => Promise<void>) | undefined, log: Log): () => void {
  if (IS_WINDOWS) return () => {};
  const renewNow = async () => {
    if (!renew) return log("certificate_missing", {});
    try {
      await renew();
      log("certificate_renewed", {});
    } catch (error) {
      log("certificate_kept", { reason: reasonOf(error) });
    }
  };
  Deno.addSignalListener("SIGHUP", renewNow);
  return () => Deno.removeSignalListener("SIGHUP", renewNow);
}
