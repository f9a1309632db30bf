/** Requests as a page makes them. */

import type { ClientFrameOf } from "../../protocol.ts";

/** Members of a request beside type and id. */
export type Query<T extends "history" | "group" | "conversations"> = Omit<ClientFrameOf<T>, "type" | "id">;
