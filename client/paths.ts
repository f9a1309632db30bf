/** The folders of the client's settings and state: those of XDG, and their equivalents on Windows and macOS. */

/** The folders of one user. */
export interface Folders {
  readonly config: string;
  readonly state: string;
}

/** Returns the folders for an environment. Throws a `TypeError` where it names no home. */
export function foldersFor(env: (name: string) => string | undefined, os: string): Folders {
  const home = env("HOME") || env("USERPROFILE");
  const [config, state] = [absolute(env("XDG_CONFIG_HOME")), absolute(env("XDG_STATE_HOME"))];
  if (config && state) return { config: `${config}/parley`, state: `${state}/parley` };
  const base = defaults(env, os, home);
  if (!base) throw new TypeError("HOME is not set: set it, or XDG_CONFIG_HOME and XDG_STATE_HOME");
  return { config: config ? `${config}/parley` : base.config, state: state ? `${state}/parley` : base.state };
}

/** Returns an absolute path as it is. XDG has relative ones ignored: they would be another folder wherever one is. */
function absolute(path: string | undefined): string | undefined {
  return path !== undefined && /^(\/|[A-Za-z]:[\\/])/.test(path) ? path : undefined;
}

function defaults(env: (name: string) => string | undefined, os: string, home: string | undefined): Folders | undefined {
  if (os === "windows") {
    const roaming = env("APPDATA") || (home && `${home}\\AppData\\Roaming`);
    const local = env("LOCALAPPDATA") || (home && `${home}\\AppData\\Local`);
    return roaming && local ? { config: `${roaming}\\parley`, state: `${local}\\parley` } : undefined;
  }
  if (!home) return undefined;
  if (os === "darwin") {
    const support = `${home}/Library/Application Support/parley`;
    return { config: support, state: `${support}/state` };
  }
  return { config: `${home}/.config/parley`, state: `${home}/.local/state/parley` };
}

/** Writes a file for its owner alone. After a crash it has the old text or the new. */
export function writePrivately(file: string, text: string): void {
  const draft = `${file}.${crypto.randomUUID().slice(0, 8)}.new`;
  try {
    Deno.writeTextFileSync(draft, text, { mode: 0o600, createNew: true });
    Deno.renameSync(draft, file);
  } catch (error) {
    try {
      Deno.removeSync(draft);
    } catch { /* it was not made */ }
    throw error;
  }
}
