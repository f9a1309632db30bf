/**
 * Results as people read them: a table in Markdown and a picture in SVG.
 */

import type { Figures, Percentiles, Result } from "./scenarios.ts";

/** Returns whether a result counts: everything arrived once, unaltered, in order, and nothing was refused. */
export function isSound(result: Result): boolean {
  return Object.values(result.faults).every((count) => count === 0) && result.complaint === "";
}

/** Describes in words what was wrong with a result. */
export function describeFaults({ faults, complaint }: Result): string {
  const counts = Object.entries(faults).filter(([, count]) => count > 0).map(([kind, count]) => `${count} ${kind}`);
  return [...counts, ...(complaint ? [`the server said "${complaint}"`] : [])].join(", ");
}

/** Processors below which neither server nor clients were busy in a closed loop: something else was, and the figures are its. */
const BUSY_CPU = 0.5;

/** Returns whether other work on the machine disturbed the figures. */
export function isDisturbed({ figures: { delivered_per_s: rate, server_cpu: server, clients_cpu: clients } }: Result): boolean {
  if (rate === undefined || server === undefined || clients === undefined) return false;
  return server < BUSY_CPU && clients < BUSY_CPU;
}

// ---- The table ---------------------------------------------------------------------------------------------------------------

const HEADINGS = [
  "scenario",
  "what",
  "broker",
  "connections",
  "delivered/s",
  "CPU µs/message",
  "processors busy: server, clients",
  "latency p50 / p99 / p99.9 ms (at deliveries/s)",
  "ack p50 / p99 ms",
  "ready p50 / p99 / max ms",
  "KiB/connection",
  "peak MiB",
];

/** One row per result. */
export function toMarkdown(results: readonly Result[]): string {
  const rows = results.map((result) => row(result, result.figures));
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rule = HEADINGS.map((_, column) => column < 3 ? "---" : "--:");
  return [HEADINGS, rule, ...rows].map(line).join("\n") + "\n";
}

function row(result: Result, f: Figures): string[] {
  const { scenario, what, broker, connections } = result;
  return [
    scenario,
    isDisturbed(result) ? `${what} (disturbed: neither side was busy)` : what,
    broker,
    number(connections),
    number(f.delivered_per_s),
    number(f.cpu_us_per_message),
    f.server_cpu === undefined ? "" : `${f.server_cpu}, ${f.clients_cpu}`,
    f.latency_us ? `${times(f.latency_us, "p50", "p99", "p999")} (${number(f.at_per_s)})` : "",
    f.ack_latency_us ? times(f.ack_latency_us, "p50", "p99") : "",
    f.ready_us ? times(f.ready_us, "p50", "p99", "max") : "",
    number(f.kib_per_connection),
    number(f.memory_peak_mib),
  ];
}

function number(value: number | undefined): string {
  return value === undefined ? "" : value.toLocaleString("en-US");
}

function times(percentiles: Percentiles, ...which: (keyof Percentiles)[]): string {
  return which.map((name) => milliseconds(percentiles[name])).join(" / ");
}

function milliseconds(us: number): string {
  return us < 10_000 ? (us / 1_000).toFixed(2) : us < 100_000 ? (us / 1_000).toFixed(1) : (us / 1_000).toFixed(0);
}

// ---- The picture -------------------------------------------------------------------------------------------------------------

const WIDTH = 960, ROW = 26, TOP = 64, LABEL = 150;
const PANELS = [{ left: LABEL, width: 330 }, { left: 560, width: 350 }] as const;
/** The latency axis: from 0.01 ms to 100 s, a decade each. */
const DECADES = { from: 1, to: 8 };

/** Bars of deliveries per second, and beside them latency from p50 over p99 to p99.9 on a logarithmic axis. */
export function toSvg(results: readonly Result[], title: string): string {
  const height = TOP + results.length * ROW + 20;
  const most = Math.max(1, ...results.map((result) => result.figures.delivered_per_s ?? 0));
  const rows = results.flatMap((result, index) => bar(result, TOP + index * ROW, most));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    text(10, 20, title, 'font-size="15" font-weight="bold"'),
    text(PANELS[0].left, 44, "delivered per second"),
    text(PANELS[1].left, 44, "latency at an even rate: p50, p99, p99.9", 'fill="#555"'),
    ...axis(height),
    ...rows,
    "</svg>",
  ].join("\n") + "\n";
}

function bar({ scenario, figures }: Result, y: number, most: number): string[] {
  const out = [text(10, y + 15, scenario)];
  if (figures.delivered_per_s !== undefined) {
    const width = Math.max(1, figures.delivered_per_s / most * (PANELS[0].width - 70));
    out.push(`<rect x="${PANELS[0].left}" y="${y + 4}" width="${width.toFixed(1)}" height="14" fill="#3b6ea5"/>`);
    out.push(text(PANELS[0].left + width + 5, y + 15, number(figures.delivered_per_s)));
  }
  const latency = figures.latency_us ?? figures.ready_us;
  if (latency) {
    const [a, b, c] = [latency.p50, latency.p99, latency.p999].map(position);
    out.push(`<line x1="${a}" x2="${c}" y1="${y + 11}" y2="${y + 11}" stroke="#c98a2b" stroke-width="2"/>`);
    for (const x of [a, b, c]) out.push(`<circle cx="${x}" cy="${y + 11}" r="4" fill="#c98a2b"/>`);
  }
  return out;
}

function position(us: number): string {
  const decade = Math.min(DECADES.to, Math.max(DECADES.from, Math.log10(Math.max(1, us))));
  return (PANELS[1].left + (decade - DECADES.from) / (DECADES.to - DECADES.from) * PANELS[1].width).toFixed(1);
}

function axis(height: number): string[] {
  const out: string[] = [];
  for (let decade = DECADES.from; decade <= DECADES.to; decade++) {
    const x = position(10 ** decade);
    out.push(`<line x1="${x}" x2="${x}" y1="${TOP - 4}" y2="${height - 20}" stroke="#ddd"/>`);
    out.push(
      text(Number(x), TOP - 8, decade < 6 ? `${10 ** (decade - 3)} ms` : `${10 ** (decade - 6)} s`, 'text-anchor="middle"'),
    );
  }
  return out;
}

function text(x: number, y: number, content: string, attributes = ""): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x.toFixed(1)}" y="${y}" ${attributes}>${escaped}</text>`;
}
