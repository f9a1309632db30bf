/** Addresses and files of passwords, as operators write them. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { BrokerError } from "../errors.ts";
import { lacks } from "../../testing/permissions.ts";
import type { Host } from "./host.ts";
import { passwordOf } from "./password.ts";
import { describe, readSettings } from "./settings.ts";

const HOST: Host = { host: "db1", port: 5432, path: undefined };

Deno.test("settings - hosts, ports, names and the password are read from the URL, and shown without the password", () => {
  const { hosts, user, database, password, tls } = readSettings({ url: "postgres://ann%40x:p%2Fw@db1,[::1]:6000,db3:7/base" });
  assertEquals(hosts.map(({ host, port }) => [host, port]), [["db1", 5432], ["::1", 6000], ["db3", 7]]);
  assertEquals([user, database, password(hosts[0]!), tls], ["ann@x", "base", "p/w", undefined]);
  assertEquals(describe({ hosts, user, database }), "postgres://ann@x@db1:5432,[::1]:6000,db3:7/base");
  assertEquals(readSettings({ url: "postgresql://ann@db" }).database, "ann");
  const [socket] = readSettings({ url: "postgres://ann@:6000/base?host=/run/postgresql" }).hosts;
  assertEquals(socket, { host: "", port: 6000, path: "/run/postgresql/.s.PGSQL.6000" });
});

Deno.test("settings - TLS is all or nothing", () => {
  const tlsOf = (query: string) => readSettings({ url: `postgres://ann@db/x${query}` }).tls;
  assertEquals(tlsOf(""), undefined);
  assertEquals(tlsOf("?sslmode=disable"), undefined);
  for (const mode of ["require", "verify-ca", "verify-full"]) assertEquals(tlsOf(`?sslmode=${mode}`), { ca: undefined });
  for (const mode of ["prefer", "allow", ""]) assertThrows(() => tlsOf(`?sslmode=${mode}`), BrokerError, "verify-full");
});

Deno.test("settings - no error repeats a password that was written without its escapes", () => {
  for (
    const url of [
      "postgres://ann:hunter2@x@db/base",
      "postgres://ann:a/hunter2@db/base",
      "postgres://ann:a?hunter2@db/base",
      "postgres://ann:a@hunter2/x@db/base",
      "postgres://ann:a@x?hunter2@db/base",
      "postgres://ann:a#hunter2@db/base",
      "postgres://:hunter2@db/base",
      "postgres://ann:hunter2@db:99999/base",
      "postgres://ann:hunter2@db:0/base",
      "postgres://ann:hunter2%@db/base",
      "postgres://ann:hunter2@db/base?sslmode=prefer",
      "postgres://ann:hunter2@db/base?application_name=x",
      "ann:hunter2@db/base",
    ]
  ) {
    const error = assertThrows(() => readSettings({ url }), BrokerError);
    assert(!error.message.includes("hunter2"), error.message);
    assertStringIncludes(error.message, "--postgres");
  }
});

Deno.test("password file - a line is split at colons, which a backslash takes as they are, and a star fits everything", () => {
  const of = (text: string, host = HOST) => passwordOf(text, host, "base", "ann");
  assertEquals(of("db1:5432:base:ann:secret"), "secret");
  assertEquals(of("*:*:*:*:secret\r\n"), "secret");
  assertEquals(of("# db1:5432:base:ann:no\n\ndb1:5432:base:ann\ndb2:*:*:*:no\ndb1:*:*:ann:first\n*:*:*:*:second"), "first");
  assertEquals(of("db1:5432:base:ann:a\\:b\\\\c:what follows"), "a:b\\c");
  assertEquals(of("\\*:*:*:*:a star that is escaped is a star"), "");
  assertEquals(of("db1:5433:*:*:no\ndb1:*:other:*:no\ndb1:*:*:ben:no"), "");
  assertEquals(of("\\:\\:1:*:*:*:six", { ...HOST, host: "::1" }), "six");
  assertEquals(passwordOf("*:*:*:a\\:nn:x", HOST, "base", "a:nn"), "x");
  const socket = { host: "", port: 5432, path: "/run/postgresql/.s.PGSQL.5432" };
  assertEquals(of("db1:*:*:*:no\nlocalhost:*:*:*:yes", socket), "yes");
  assertEquals(of("/run/postgresql:*:*:*:yes", socket), "yes");
});

Deno.test({
  name: "password file - it has to be its owner's alone, and each host has its own line",
  ignore: lacks("read", "write") || Deno.build.os === "windows",
  fn() {
    const dir = Deno.makeTempDirSync(), passFile = `${dir}/pass`, url = "postgres://ann@db1,db2/base";
    Deno.writeTextFileSync(passFile, "db1:*:*:*:one\ndb2:*:*:*:two\n", { mode: 0o600 });
    const { hosts, password } = readSettings({ url, passFile });
    assertEquals(hosts.map(password), ["one", "two"]);
    assertEquals(readSettings({ url: "postgres://ann:url@db1/base", passFile }).password(hosts[0]!), "url");
    for (const mode of [0o640, 0o604, 0o620]) {
      Deno.chmodSync(passFile, mode);
      assertThrows(() => readSettings({ url, passFile }), BrokerError, `chmod 600 ${passFile}`);
    }
    assertThrows(() => readSettings({ url, passFile: `${dir}/none` }), BrokerError, `Cannot read ${dir}/none`);
    const passwordFile = `${dir}/password`;
    Deno.writeTextFileSync(passwordFile, "\n");
    assertThrows(() => readSettings({ url, passwordFile }), BrokerError, "no password in its first line");
    Deno.writeTextFileSync(passwordFile, "three\n");
    const settings = readSettings({ url: "postgres://ann:url@db1/base", passwordFile });
    assertEquals(settings.password(hosts[0]!), "three", "the file wins over the URL");
    Deno.writeTextFileSync(passwordFile, "four\n");
    assertEquals(settings.password(hosts[0]!), "four", "and is read each time");
    Deno.removeSync(dir, { recursive: true });
  },
});
