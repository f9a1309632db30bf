import { assert, assertEquals, assertRejects } from "@std/assert";
import process from "node:process";
import { lacks } from "../testing/permissions.ts";
import { lookupAll } from "./lookup.ts";

Deno.test({
  name: "a name is looked up without a word of the runtime's own about it",
  ignore: lacks("net"),
  async fn() {
    const warnings: string[] = [];
    const onWarning = ({ message }: Error) => void warnings.push(message);
    process.on("warning", onWarning);
    try {
      const addresses = await lookupAll("localhost");
      assert(addresses.some((address) => address === "127.0.0.1" || address === "::1"), `${addresses}`);
      await assertRejects(() => lookupAll("none.invalid"));
      await new Promise((resolve) => setTimeout(resolve, 0)); // warnings are told a moment later
    } finally {
      process.off("warning", onWarning);
    }
    assertEquals(warnings, []);
  },
});
