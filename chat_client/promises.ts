/** Promises that are settled from outside. */

/** A promise and the functions that settle it. */
export interface Resolvers<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(reason: unknown): void;
}

/** Makes a promise that its owner settles: `Promise.withResolvers`, which Node.js has from version 22 only. */
export function withResolvers<T>(): Resolvers<T> {
  let resolve!: Resolvers<T>["resolve"], reject!: Resolvers<T>["reject"];
  const promise = new Promise<T>((...functions) => [resolve, reject] = functions);
  return { promise, resolve, reject };
}
