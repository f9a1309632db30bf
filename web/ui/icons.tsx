/** Icons: lines on a grid of 24, in the colour of the text around them. Names stand beside them, so they say nothing. */

import type { JSX } from "preact";

const PATHS = {
  back: "M15 5l-7 7 7 7",
  send: "M4.5 12h14M12.5 5.5 19 12l-6.5 6.5",
  plus: "M12 5v14M5 12h14",
  search: "M11 4.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM16 16l4 4",
  people:
    "M9 11a3.2 3.2 0 1 0 0-6.4A3.2 3.2 0 0 0 9 11zM3.2 19.5c.3-3.2 2.6-5.2 5.8-5.2s5.5 2 5.8 5.2M16 5a3 3 0 0 1 0 5.8M17.5 14.6c2 .6 3.1 2.4 3.3 4.9",
  settings: "M4 7.5h9M17 7.5h3M4 16.5h3M11 16.5h9M15 5.5a2 2 0 1 1 0 4 2 2 0 0 1 0-4zM9 14.5a2 2 0 1 1 0 4 2 2 0 0 1 0-4z",
  close: "M6 6l12 12M18 6 6 18",
  down: "M12 5v14M6 13l6 6 6-6",
  up: "M12 19V5M6 11l6-6 6 6",
  clock: "M12 4.5a7.5 7.5 0 1 1 0 15 7.5 7.5 0 0 1 0-15zM12 8v4.2l2.8 1.8",
  sent: "M6 12.5l4 4 8.5-9",
  double: "M2.5 12.5l4 4L15 7.5M12 15.2l1.3 1.3 8.2-9",
  alert: "M12 4.5a7.5 7.5 0 1 1 0 15 7.5 7.5 0 0 1 0-15zM12 8.2v4.6M12 15.6v.2",
  bell: "M6.5 16.5V11a5.5 5.5 0 0 1 11 0v5.5l1.5 1.5H5zM10 20.5h4",
} as const;

/** Name of an icon. */
export type IconName = keyof typeof PATHS;

/** An icon. */
export function Icon({ name, small = false }: { name: IconName; small?: boolean }): JSX.Element {
  return (
    <svg class={small ? "icon small" : "icon"} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
