/** All routes of the API, and the one of a request. */

import { GROUP_ROUTES } from "./groups.ts";
import { MESSAGE_ROUTES } from "./messages.ts";
import type { AnyRoute } from "./route.ts";
import { SERVICE_ROUTES } from "./service.ts";
import { USER_ROUTES } from "./users.ts";

/** Beginning of every path. */
export const API_PREFIX = "/api/v1";

/** All routes. */
export const ROUTES: readonly AnyRoute[] = [...MESSAGE_ROUTES, ...USER_ROUTES, ...GROUP_ROUTES, ...SERVICE_ROUTES];

/** Routes of one path, by method, with the variable parts of it as they stand in the address. */
export interface Found {
  readonly routes: ReadonlyMap<string, AnyRoute>;
  readonly path: Readonly<Record<string, string>>;
}

interface Place {
  readonly segments: readonly string[];
  readonly routes: Map<string, AnyRoute>;
}

const PLACES: readonly Place[] = placesOf(ROUTES);

function placesOf(routes: readonly AnyRoute[]): Place[] {
  const places = new Map<string, Place>();
  for (const route of routes) {
    const place = places.get(route.at) ?? { segments: route.at.slice(1).split("/"), routes: new Map() };
    places.set(route.at, place);
    place.routes.set(route.method, route);
  }
  return [...places.values()];
}

/** Finds the routes of a path; undefined where there are none. Encoded characters separate nothing. */
export function findRoutes(pathname: string): Found | undefined {
  if (!pathname.startsWith(`${API_PREFIX}/`)) return undefined;
  const given = pathname.slice(API_PREFIX.length + 1).split("/");
  for (const { segments, routes } of PLACES) {
    if (segments.length !== given.length) continue;
    const path: Record<string, string> = {};
    const fits = segments.every((segment, i) => {
      if (!segment.startsWith("{")) return segment === given[i];
      path[segment.slice(1, -1)] = given[i]!;
      return given[i] !== "";
    });
    if (fits) return { routes, path };
  }
  return undefined;
}

/** Lists the methods of a path, as the header Allow has them. */
export function methodsOf({ routes }: Found): string {
  const methods = [...routes.keys()].flatMap((method) => method === "GET" ? ["GET", "HEAD"] : [method]);
  return [...methods, "OPTIONS"].join(", ");
}
