import { assertEquals, assertRejects } from "@std/assert";
import { parseOptions, UsageError } from "../cli/options.ts";
import { CONFIRM_MESSAGES } from "../hub.ts";
import { assemble, type ServerOptions, StartError } from "./assemble.ts";
import { SERVER_OPTIONS } from "./options.ts";

async function made(...args: string[]): Promise<ServerOptions> {
  const { broker, ...options } = await assemble(
    parseOptions(SERVER_OPTIONS, ["--broker", "memory", ...args]).values,
    () => {},
  );
  await broker.close();
  return options;
}

Deno.test("assemble lifts every limit that is 0, and makes no rate limit of a rate of 0", async () => {
  const limits = Object.entries(SERVER_OPTIONS).filter(([, { kind }]) => kind === "limit").map(([name]) => `--${name}=0`);
  const { admission, devicesMax, refusalsMax, confirmMessages, rate, rateLimit, quota } = await made(...limits);
  assertEquals(new Set(Object.values(admission!)), new Set([Infinity]));
  assertEquals([devicesMax, refusalsMax, confirmMessages], [Infinity, Infinity, CONFIRM_MESSAGES]);
  assertEquals([rate, rateLimit, quota], [undefined, undefined, undefined]);
});

Deno.test("assemble passes limits on in the units of the parts", async () => {
  const args = [
    "--max-memory",
    "2",
    "--hello-timeout",
    "3",
    "--mailbox",
    "8",
    "--max-devices",
    "2",
    "--max-stalled-per-user",
    "3",
  ];
  const { admission, helloTimeoutMs, confirmMessages, rate } = await made(...args);
  assertEquals([admission!.memoryBytes, admission!.connectionsPerUser, admission!.stalled], [2_097_152, 5, 1_000]);
  assertEquals([helloTimeoutMs, confirmMessages, rate], [3_000, 2, { rate: 5, burst: 20 }]);
});

Deno.test("assemble refuses what does not go together in a sentence", async () => {
  await assertRejects(() => made("--queue-bytes", "65536"), UsageError, "at least 131072");
  await assertRejects(() => made("--allow-origin", "chat.example.org"), UsageError, "is no origin");
  await assertRejects(() => made("--allow-origin", "https://*.example.org"), UsageError, "wildcard");
  await assertRejects(() => made("--trust-proxy", "1"), UsageError, "needs a key");
  assertEquals((await made("--trust-proxy", "1", "--insecure-open")).trustedHops, 1);
  await assertRejects(() => made("--revoked", "file"), UsageError, "needs a key");
  await assertRejects(() => made("--cert", "file"), UsageError, "both --cert and --key");
  await assertRejects(() => made("--host", "0.0.0.0"), StartError, "--insecure-open");
});

Deno.test("assemble takes an address with a port for metrics, IPv6 in brackets, and refuses anything else", async () => {
  assertEquals((await made()).metrics, undefined);
  assertEquals((await made("--metrics-listen", "127.0.0.1:9464")).metrics, { hostname: "127.0.0.1", port: 9_464 });
  assertEquals((await made("--metrics-listen", "[::1]:0")).metrics, { hostname: "::1", port: 0 });
  for (const address of ["9464", "localhost", "::1:9464", "127.0.0.1:99999", "127.0.0.1:x"]) {
    await assertRejects(() => made("--metrics-listen", address), UsageError, "--metrics-listen");
  }
});
