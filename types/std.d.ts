/**
 * The types of what Parley uses of Deno's standard library. It comes from npm (`deno-std`), where it has no declarations:
 * without this file every import would be `any`, and assertions would narrow nothing.
 *
 * A module here is named as the import map of deno.json names it. `types/std_test.ts` compares both with the package.
 */

declare module "@std/assert" {
  // deno-lint-ignore no-explicit-any
  type Class = abstract new (...args: any[]) => any;
  // deno-lint-ignore no-explicit-any
  type ErrorClass<E extends Error> = new (...args: any[]) => E;

  export class AssertionError extends Error {
    constructor(message: string, options?: ErrorOptions);
  }
  export function assert(expr: unknown, msg?: string): asserts expr;
  export function assertFalse(expr: unknown, msg?: string): asserts expr is false | 0 | 0n | "" | null | undefined;
  export function assertEquals<T>(actual: T, expected: T, msg?: string): void;
  export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void;
  export function assertStrictEquals<T>(actual: unknown, expected: T, msg?: string): asserts actual is T;
  export function assertNotStrictEquals<T>(actual: T, expected: T, msg?: string): void;
  export function assertAlmostEquals(actual: number, expected: number, tolerance?: number, msg?: string): void;
  export function assertArrayIncludes<T>(actual: ArrayLike<T>, expected: ArrayLike<T>, msg?: string): void;
  export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T>;
  export function assertGreater<T>(actual: T, expected: T, msg?: string): void;
  export function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void;
  export function assertLess<T>(actual: T, expected: T, msg?: string): void;
  export function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void;
  export function assertInstanceOf<C extends Class>(
    actual: unknown,
    expectedType: C,
    msg?: string,
  ): asserts actual is InstanceType<C>;
  export function assertNotInstanceOf<T, C extends Class>(
    actual: T,
    unexpectedType: C,
    msg?: string,
  ): asserts actual is Exclude<T, InstanceType<C>>;
  export function assertIsError<E extends Error = Error>(
    error: unknown,
    errorClass?: ErrorClass<E>,
    msgMatches?: string | RegExp,
    msg?: string,
  ): asserts error is E;
  export function assertMatch(actual: string, expected: RegExp, msg?: string): void;
  export function assertNotMatch(actual: string, expected: RegExp, msg?: string): void;
  export function assertStringIncludes(actual: string, expected: string, msg?: string): void;
  export function assertObjectMatch(actual: object, expected: object, msg?: string): void;
  export function assertThrows(fn: () => unknown, msg?: string): unknown;
  export function assertThrows<E extends Error = Error>(
    fn: () => unknown,
    ErrorClass: ErrorClass<E>,
    msgIncludes?: string,
    msg?: string,
  ): E;
  export function assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
  export function assertRejects<E extends Error = Error>(
    fn: () => PromiseLike<unknown>,
    ErrorClass: ErrorClass<E>,
    msgIncludes?: string,
    msg?: string,
  ): Promise<E>;
  export function equal(a: unknown, b: unknown): boolean;
  export function fail(msg?: string): never;
  export function unreachable(msg?: string): never;
}

declare module "@std/async/deadline" {
  /** Rejects with a `TimeoutError` (a `DOMException`) where `p` takes more than `ms`. */
  export function deadline<T>(p: Promise<T>, ms: number, options?: { signal?: AbortSignal }): Promise<T>;
}

declare module "@std/async/delay" {
  /** Resolves after `ms`; a delay that is not `persistent` does not keep the process alive. */
  export function delay(ms: number, options?: { signal?: AbortSignal; persistent?: boolean }): Promise<void>;
}

declare module "@std/bytes/starts-with" {
  /** Returns whether `source` begins with `prefix`. */
  export function startsWith(source: Uint8Array, prefix: Uint8Array): boolean;
}

declare module "@std/cli/parse-args" {
  export interface ParseArgsOptions<B extends string, S extends string, C extends string> {
    readonly boolean?: readonly B[];
    readonly string?: readonly S[];
    /** Options that may be given several times; each is an array then. */
    readonly collect?: readonly C[];
    readonly negatable?: readonly string[];
    readonly alias?: Readonly<Record<string, string | readonly string[]>>;
    readonly default?: Readonly<Record<string, unknown>>;
    readonly stopEarly?: boolean;
    readonly "--"?: boolean;
    /** Called for what no option names; `false` leaves it out of the result. */
    readonly unknown?: (arg: string, key?: string, value?: unknown) => unknown;
  }
  export type Args<B extends string, S extends string, C extends string> =
    & { [K in B]: boolean }
    & { [K in Exclude<S, C>]?: string }
    & { [K in C]: (K extends S ? string : unknown)[] }
    & { _: (string | number)[]; "--"?: string[]; [key: string]: unknown };
  export function parseArgs<
    const B extends string = never,
    const S extends string = never,
    const C extends string = never,
  >(args: readonly string[], options?: ParseArgsOptions<B, S, C>): Args<B, S, C>;
}

declare module "@std/regexp/escape" {
  /** Escapes `str` so that a regular expression finds it as it is. */
  export function escape(str: string): string;
}

declare module "@std/streams/delimiter-stream" {
  /** Splits bytes at `delimiter`, whatever the chunks, which stays with what it ends (`suffix`) or goes; the last part may be empty. */
  export class DelimiterStream extends TransformStream<Uint8Array, Uint8Array> {
    constructor(delimiter: Uint8Array, options?: { disposition?: "suffix" | "prefix" | "discard" });
  }
}

declare module "@std/text/closest-string" {
  /** Returns the one of `possibleWords` (at least one) that is most like `givenWord`, by `compareFn` the least different. */
  export function closestString(
    givenWord: string,
    possibleWords: readonly string[],
    options?: { caseSensitive?: boolean; compareFn?: (a: string, b: string) => number },
  ): string;
}

declare module "@std/text/levenshtein-distance" {
  /** Counts the characters to insert, delete or replace to make `str2` of `str1`. */
  export function levenshteinDistance(str1: string, str2: string): number;
}
