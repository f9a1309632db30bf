import { assert, assertEquals } from "@std/assert";
import { sentenceOf } from "../ops/log.ts";
import { CAN_RUN, lacks, lacksProgram } from "../testing/permissions.ts";
import { Listener } from "./listener.ts";

Deno.test({
  name: "Listener answers, and answers nobody once it is shut down",
  ignore: lacks("net"),
  async fn() {
    const lines: string[] = [];
    const listener = new Listener({
      port: 0,
      listen: (port) =>
        Deno.serve({ hostname: "127.0.0.1", port, onListen() {} }, (_, { remoteAddr }) => new Response(remoteAddr.hostname)),
      log: (event, fields) => lines.push(sentenceOf(event, fields)),
    });
    const url = `http://127.0.0.1:${listener.port}/`;
    assertEquals(await (await fetch(url)).text(), "127.0.0.1");
    await listener.shutdown();
    assertEquals(await fetch(url).catch(() => "refused"), "refused");
    assertEquals(lines, []);
  },
});

/** Descriptors of the program under test: a few of its own, the rest for connections. */
const DESCRIPTORS = 64;

/** A server whose one WebSocket echoes, in a process of its own. */
const PROGRAM = `
import { Listener } from ${JSON.stringify(new URL("listener.ts", import.meta.url).href)};
const listener = new Listener({
  port: 0,
  listen: (port) => Deno.serve({ hostname: "127.0.0.1", port, onListen() {} }, (request) => {
    if (!request.headers.has("upgrade")) return new Response("ok");
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.onmessage = ({ data }) => socket.send(data);
    return response;
  }),
  log: console.log,
});
console.log(listener.port);
`;

Deno.test({
  name: "Listener survives that descriptors run out: open sockets go on, and new ones come in as soon as there is room",
  ignore: !CAN_RUN || lacksProgram("sh", ["-c", "ulimit -n 64"]),
  async fn() {
    const args = ["-c", `ulimit -n ${DESCRIPTORS}; exec "$0" eval "$1"`, Deno.execPath(), PROGRAM];
    const child = new Deno.Command("sh", { args, stdin: "null", stdout: "piped", stderr: "inherit" }).spawn();
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const port = Number((await lines.read()).value);
    const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = reject;
    });
    const idle: Deno.Conn[] = [];
    while (idle.length < 2 * DESCRIPTORS) {
      const connection = await Deno.connect({ hostname: "127.0.0.1", port }).catch(() => undefined);
      if (!connection) break;
      idle.push(connection);
    }
    assert(idle.length > DESCRIPTORS / 2);
    const held = idle.pop()!; // one that stays must not keep the others out
    for (const connection of idle) connection.close();
    let answer: string | undefined;
    while (answer === undefined) answer = await fetch(`http://127.0.0.1:${port}/`).then((r) => r.text()).catch(() => undefined);
    assertEquals(answer, "ok");
    const echoed = new Promise((resolve) => socket.onmessage = ({ data }) => resolve(data));
    socket.send("still here");
    assertEquals(await echoed, "still here");
    held.close();
    const closed = new Promise((resolve) => socket.onclose = resolve);
    child.kill("SIGKILL");
    await Promise.all([closed, child.status, lines.cancel()]);
  },
});
