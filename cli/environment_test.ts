import { assertEquals } from "@std/assert";
import { strangeVariables, variablesOf } from "./environment.ts";

const OWN = ["PARLEY_PORT", "PARLEY_JWT_PUBLIC_KEY", "PARLEY_RETENTION_DAYS", "PARLEY_REVOKED"];

function strange(env: Record<string, string>): string[] {
  return strangeVariables(env, "PARLEY_", OWN, ["PARLEY_NAME"]);
}

Deno.test("variables that nothing reads are named, with what they may have been meant for", () => {
  assertEquals(
    strange({ PARLEY_JWT_PUBLICKEY: "/x", PARLEY_RETENTION_DAY: "90", parley_revoked: "x", PARLEY_WEATHER: "fine" }),
    [
      "PARLEY_JWT_PUBLICKEY is set, but nothing reads it; did you mean PARLEY_JWT_PUBLIC_KEY?",
      "PARLEY_RETENTION_DAY is set, but nothing reads it; did you mean PARLEY_RETENTION_DAYS?",
      "PARLEY_WEATHER is set, but nothing reads it",
      "parley_revoked is set, but nothing reads it; did you mean PARLEY_REVOKED?",
    ],
  );
});

Deno.test("variables that are read, are empty, belong to others or to Kubernetes are not named", () => {
  assertEquals(
    strange({
      PARLEY_PORT: "8080",
      PARLEY_NAME: "bob",
      PARLEY_EMPTY: "",
      PATH: "/bin",
      PARLEY_SERVICE_HOST: "10.0.0.1",
      PARLEY_SERVICE_PORT: "8080",
      PARLEY_SERVICE_PORT_WS: "8080",
      PARLEY_CHAT_PORT: "tcp://10.0.0.1:8080",
      PARLEY_PORT_8080_TCP: "tcp://10.0.0.1:8080",
      PARLEY_PORT_8080_TCP_PROTO: "tcp",
      PARLEY_CHAT_PORT_8080_TCP_ADDR: "10.0.0.1",
    }),
    [],
  );
});

Deno.test("variablesOf lists each variable of some tables once", () => {
  const option = { kind: "flag", help: "" } as const;
  const first = { a: { ...option, env: "X_A" }, b: option },
    second = { a: { ...option, env: "X_A" }, c: { ...option, env: "X_C" } };
  assertEquals(variablesOf([first, second]), ["X_A", "X_C"]);
});
