/** Code in WEBHOOKS.md is run as it stands there, against what the server really signs. */

import { assert, assertEquals } from "@std/assert";
import { lacks, lacksProgram } from "../testing/permissions.ts";
import { EVENT_TYPES, parseEndpoints } from "../server/webhooks/config.ts";
import { newPrivateKey, publicKeyOf, signedHeaders, signerOf } from "../server/webhooks/secrets.ts";

const ignore = lacks("read", "write", "run", "env", "net");
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY = '{"type":"webhook.test","timestamp":"2026-09-01T10:00:00.000Z","data":{}}';
const text = lacks("read") ? "" : Deno.readTextFileSync(new URL("WEBHOOKS.md", import.meta.url));

/** The code of a kind that has some words. */
function code(kind: string, words: string): string {
  const blocks = [...text.matchAll(/```(\w+)\n([^]*?)```/g)];
  return blocks.find(([, language, block]) => language === kind && block!.includes(words))![2]!;
}

function now(): number {
  return Math.floor(Date.now() / 1_000);
}

Deno.test({
  name: "WEBHOOKS.md names every event, and its file is one that the server takes",
  ignore: lacks("read"),
  fn() {
    const rows = [...text.matchAll(/^\| `([a-z]+\.[a-z]+)` /gm)].map(([, type]) => type);
    assertEquals(rows.sort(), [...EVENT_TYPES, "webhook.test"].sort());
    assertEquals(parseEndpoints(code("json", "endpoints"), () => "").map(({ name }) => name), ["push"]);
  },
});

Deno.test({
  name: "the receiver in Node takes what is signed, once, and curl with openssl makes such a request",
  ignore: ignore || lacksProgram("node") || lacksProgram("curl") || lacksProgram("openssl", ["version"]),
  async fn() {
    const dir = await Deno.makeTempDir();
    await Deno.writeTextFile(`${dir}/package.json`, '{"type":"module","dependencies":{"standardwebhooks":"1.1.1"}}');
    const installed = await new Deno.Command(Deno.execPath(), { args: ["install", "--quiet"], cwd: dir, stdout: "null" })
      .output();
    assert(installed.success, new TextDecoder().decode(installed.stderr));
    await Deno.writeTextFile(`${dir}/receiver.js`, code("js", "createServer"));
    const node = new Deno.Command("node", {
      args: [`${dir}/receiver.js`],
      env: { SECRET, PORT: "0" },
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    try {
      const lines = node.stdout.pipeThrough(new TextDecoderStream()).getReader();
      const port = /port (\d+)|on (\d+)/.exec((await lines.read()).value!)!.slice(1).find(Boolean);
      const url = `http://127.0.0.1:${port}/`;
      const post = async (headers: Record<string, string>) => {
        const response = await fetch(url, { method: "POST", headers, body: BODY });
        await response.body?.cancel();
        return response.status;
      };
      const good = signedHeaders("msg_1", now(), BODY, [signerOf(SECRET)]);
      assertEquals([await post(good), await post(good)], [204, 204]);
      assertEquals(await post({ ...good, "webhook-id": "msg_2" }), 400);
      assertEquals(
        await post(signedHeaders("msg_3", now() - 600, BODY, [signerOf(SECRET)])),
        400,
        "a signature of ten minutes ago",
      );
      assertEquals((await lines.read()).value, "webhook.test {}\n");
      const curl = await new Deno.Command("sh", { args: ["-c", code("sh", "openssl")], env: { SECRET, URL: url } }).output();
      assertEquals(new TextDecoder().decode(curl.stdout), "204\n", new TextDecoder().decode(curl.stderr));
      assertEquals((await lines.read()).value, "webhook.test {}\n", "the second and the forged ones were not acted on");
      await lines.cancel();
    } finally {
      node.kill("SIGKILL");
      await node.status;
      await Deno.remove(dir, { recursive: true });
    }
  },
});

Deno.test({
  name: "the verification in Python takes what is signed, and nothing else",
  ignore: ignore || lacksProgram("python3"),
  fn() {
    const verify = (headers: Record<string, string>, body: string) => {
      const script = `${code("python", "def verify")}
import json
print(verify(${JSON.stringify(SECRET)}, json.loads(sys.argv[1]), sys.argv[2].encode()))`;
      const { stdout, stderr } = new Deno.Command("python3", { args: ["-c", script, JSON.stringify(headers), body] })
        .outputSync();
      return new TextDecoder().decode(stdout).trim() || new TextDecoder().decode(stderr);
    };
    const good = signedHeaders("msg_1", now(), BODY, [signerOf(newPrivateKey()), signerOf(SECRET)]);
    assertEquals(verify(good, BODY), "True");
    assertEquals(verify(good, BODY + " "), "False");
    assertEquals(verify({ ...good, "webhook-id": "msg_2" }, BODY), "False");
    assertEquals(verify(signedHeaders("msg_1", now() - 600, BODY, [signerOf(SECRET)]), BODY), "False");
  },
});

Deno.test({
  name: "the verification with a public key takes what is signed, and nothing else",
  ignore: lacks("read"),
  async fn() {
    const module = code("js", "isFrom").replace("import {", 'import { Buffer } from "node:buffer";\nimport {');
    const { isFrom } = await import(`data:text/javascript,${encodeURIComponent(module)}`);
    const secret = newPrivateKey(),
      key = publicKeyOf(secret),
      headers = signedHeaders("msg_1", now(), BODY, [signerOf(SECRET), signerOf(secret)]);
    assertEquals(isFrom(key, headers, BODY), true);
    assertEquals(isFrom(key, headers, BODY + " "), false);
    assertEquals(isFrom(publicKeyOf(newPrivateKey()), headers, BODY), false);
    assertEquals(isFrom(key, signedHeaders("msg_1", now() - 600, BODY, [signerOf(secret)]), BODY), false);
  },
});
