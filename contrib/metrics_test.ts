/** The dashboard and the alert rules go by metrics that there are, and the rules fire when they should. */

import { assert, assertEquals } from "@std/assert";
import { Metrics } from "../ops/metrics.ts";
import { lacks, lacksProgram } from "../testing/permissions.ts";

const RULES = new URL("./prometheus/", import.meta.url);
const DASHBOARD = new URL("./grafana/parley.json", import.meta.url);
const withoutPromtool = lacks("run", "read") || lacksProgram("promtool", ["--version"]);

async function metricNames(): Promise<Set<string>> {
  using metrics = new Metrics({ version: "1", deno: "1", sample: () => ({}) as never });
  const types = [...(await metrics.render()).matchAll(/^# TYPE (\S+) (\S+)/gm)];
  return new Set(types.flatMap(([, name, type]) => type === "histogram" ? [`${name}_bucket`, `${name}_count`] : [name!]));
}

/** Returns the metrics that a text of expressions names. */
function namesIn(text: string): string[] {
  return [...text.matchAll(/\b((?:parley|process)_[a-z_]+)(?=[{[ )])/g)].map(([, name]) => name!);
}

Deno.test({
  name: "alert rules and dashboard name metrics that the server has",
  ignore: lacks("read"),
  async fn() {
    const known = await metricNames();
    const dashboard = JSON.parse(await Deno.readTextFile(DASHBOARD)) as { panels: { targets: { expr: string }[] }[] };
    const expressions = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    const used = [...namesIn(await Deno.readTextFile(new URL("alerts.yml", RULES))), ...namesIn(expressions.join("\n"))];
    assert(used.length > 30);
    assertEquals(used.filter((name) => !known.has(name)), []);
    const shown = new Set(namesIn(expressions.join("\n")));
    const hidden = [...known].filter((name) => /^parley_/.test(name) && !/_count$/.test(name) && !shown.has(name));
    // The one says versions to whoever asks, the other is a date, which an alert watches.
    const unshown = ["parley_build_info", "parley_tls_certificate_expiry_timestamp_seconds"];
    assertEquals(hidden, unshown, "the dashboard shows all others");
  },
});

for (
  const [claim, args] of [["are valid", ["check", "rules", "alerts.yml"]], ["fire when they should", [
    "test",
    "rules",
    "alerts_test.yml",
  ]]] as const
) {
  Deno.test({
    name: `alert rules ${claim}`,
    ignore: withoutPromtool,
    async fn() {
      const cwd = new URL(RULES).pathname;
      const { success, stdout, stderr } = await new Deno.Command("promtool", { args: [...args], cwd, stdin: "null" }).output();
      assert(success, new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr));
    },
  });
}
