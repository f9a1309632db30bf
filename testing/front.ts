/** Servers of TLS in front of a chat server, as people have them: nginx, HAProxy and Caddy. */

import { filesIn } from "./certificate.ts";

/** Milliseconds between two looks whether a front takes connections, and how often it is looked. */
const LOOK_MS = 20, LOOKS = 500;

/** Names of the fronts, with the arguments with which each tells its version. */
export const FRONTS = {
  "nginx": ["nginx", "-v"],
  "nginx with http2": ["nginx", "-v"],
  "haproxy with h2": ["haproxy", "-v"],
  "caddy": ["caddy", "version"],
} as const;

/** The name of a front. */
export type FrontName = keyof typeof FRONTS;

/** A running front. */
export class Front implements AsyncDisposable {
  readonly port: number;
  readonly #name: FrontName;
  readonly #child: Deno.ChildProcess;

  private constructor(name: FrontName, child: Deno.ChildProcess, port: number) {
    this.#name = name;
    this.#child = child;
    this.port = port;
  }

  /** Starts a front of a backend on this machine, with the certificate in `folder`, where it keeps its files too. */
  static async start(name: FrontName, folder: string, backend: number): Promise<Front> {
    const port = freePort();
    const { cert, key } = filesIn(folder);
    const config = `${folder}/front-${port}`;
    await Deno.writeTextFile(`${config}.pem`, await Deno.readTextFile(cert) + await Deno.readTextFile(key));
    const place: Place = { port, backend, cert, key, both: `${config}.pem`, folder };
    await Deno.writeTextFile(config, CONFIGS[name](place));
    const [command] = FRONTS[name];
    const args = { nginx: ["-p", folder, "-c", config], haproxy: ["-f", config] }[command as string] ??
      ["run", "--config", config, "--adapter", "caddyfile"];
    const child = new Deno.Command(command, {
      args,
      env: { HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await isListening(port);
    return new Front(name, child, port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      // HAProxy waits for its connections; nginx would leave its workers behind if it were killed.
      this.#child.kill(this.#name.startsWith("haproxy") ? "SIGKILL" : "SIGTERM");
    } catch { /* it has ended */ }
    await this.#child.status;
  }
}

interface Place {
  readonly port: number;
  readonly backend: number;
  readonly cert: string;
  readonly key: string;
  /** One file with both. */
  readonly both: string;
  readonly folder: string;
}

const CONFIGS: Record<FrontName, (place: Place) => string> = {
  "nginx": (place) => nginx(place, "ssl"),
  "nginx with http2": (place) => nginx(place, "ssl http2"),
  "haproxy with h2": ({ port, backend, both }) => `
defaults
  mode http
  retries 0
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend front
  bind 127.0.0.1:${port} ssl crt ${both} alpn h2,http/1.1
  default_backend back
backend back
  server chat 127.0.0.1:${backend}
`,
  "caddy": ({ port, backend, cert, key, folder }) => `
{
  admin off
  auto_https off
  storage file_system ${folder}/caddy
}
https://127.0.0.1:${port} {
  tls ${cert} ${key}
  reverse_proxy 127.0.0.1:${backend}
}
`,
};

function nginx({ port, backend, cert, key, folder }: Place, listen: string): string {
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${folder}/${kind};`);
  return `
daemon off;
pid ${folder}/nginx-${port}.pid;
error_log stderr;
events {}
http {
  access_log off;
  ${paths.join(" ")}
  server {
    listen 127.0.0.1:${port} ${listen};
    ssl_certificate ${cert};
    ssl_certificate_key ${key};
    location / {
      proxy_pass http://127.0.0.1:${backend};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_set_header Host $http_host;
    }
    location /moved { return 301 https://new.example/ws; }
  }
}
`;
}

/** Returns a port that nobody listens on now: these programs cannot be told to take any. */
function freePort(): number {
  using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  return listener.addr.port;
}

async function isListening(port: number): Promise<void> {
  for (let look = 0; look < LOOKS; look++) {
    try {
      (await Deno.connect({ port, hostname: "127.0.0.1" })).close();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }
  throw new Error(`Nobody listens on port ${port}`);
}
