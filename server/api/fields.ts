/** Fields of requests: what a parameter or a member of a body may be, checked once, and compared with docs/openapi.json. */

import {
  HISTORY_LIMIT_MAX,
  ID_CHARS_MAX,
  NAME_CHARS_MAX,
  parseAddress,
  parseContent,
  parseGroup,
  parseId,
  parseName,
  Refusal,
  WATCHED_USERS_MAX,
} from "../../protocol.ts";

/** JSON Schema of a field, as docs/openapi.json has it. */
export type FieldSchema = { readonly [keyword: string]: string | number | FieldSchema };

/** One field: gives its value back, perhaps in canonical form, or says what is wrong with it. */
export interface Field<T, R extends boolean = boolean> {
  readonly required: R;
  readonly schema: FieldSchema;
  check(value: unknown, name: string): T | Refusal;
}

/** Fields by name. */
export type Fields = Readonly<Record<string, Field<unknown>>>;

/** Values of fields, those that need not be there as undefined. */
export type ValuesOf<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends Field<infer T, infer R> ? R extends true ? T : T | undefined : never;
};

/** Milliseconds and the like are whole numbers that a double holds. */
const POSITION_MAX = Number.MAX_SAFE_INTEGER;

function field<T, R extends boolean>(required: R, schema: FieldSchema, check: Field<T>["check"]): Field<T, R> {
  return { required, schema, check };
}

/** Makes a field that need not be there. */
export function optional<T>({ schema, check }: Field<T>): Field<T, false> {
  return { required: false, schema, check };
}

const NAME_SCHEMA = { type: "string", minLength: 1, maxLength: NAME_CHARS_MAX };
/** A group has a `#` before its name. */
const ADDRESS_SCHEMA = { ...NAME_SCHEMA, maxLength: NAME_CHARS_MAX + 1 };

/** A user's name. */
export const USER = field(true, NAME_SCHEMA, parseName);
/** A user's or a group's name. */
export const ADDRESS = field(true, ADDRESS_SCHEMA, parseAddress);
/** A group's name, with or without its `#`, which is awkward in an address. */
export const GROUP = field(true, ADDRESS_SCHEMA, (value, name) => {
  return parseGroup(typeof value === "string" && !value.startsWith("#") ? `#${value}` : value, name);
});
/** Content of a message. How much there may be is an option of the server. */
export const CONTENT = field(true, { type: "string" }, (value, name) => parseContent(value, name, Infinity));
/** The sender's id of a message. */
export const ID = field(true, { type: "string", minLength: 1, maxLength: ID_CHARS_MAX }, parseId);
/** Yes or no. */
export const FLAG = field(true, { type: "boolean" }, (value, name): boolean | Refusal => {
  return typeof value === "boolean" ? value : wrong(`"${name}" is not true or false`);
});
/** A position in the log. */
export const POSITION = integer(0, POSITION_MAX);
/** The number of entries of a page. */
export const PAGE_SIZE = integer(1, HISTORY_LIMIT_MAX);
/** Users, in a parameter with commas between them. */
export const USERS = field(
  true,
  { type: "array", items: NAME_SCHEMA, minItems: 1, maxItems: WATCHED_USERS_MAX },
  (value, name): string[] | Refusal => {
    const entries = typeof value === "string" ? value.split(",") : [];
    if (entries.length > WATCHED_USERS_MAX) {
      return new Refusal("limit_reached", `"${name}" has more than ${WATCHED_USERS_MAX} entries`);
    }
    const users = entries.map((entry) => parseName(entry, name));
    return users.find((user) => user instanceof Refusal) ?? [...new Set(users as string[])];
  },
);

/** Makes the field of a whole number. */
export function integer(minimum: number, maximum: number): Field<number, true> {
  return field(true, { type: "integer", minimum, maximum }, (value, name) => {
    const isWithin = Number.isInteger(value) && (value as number) >= minimum && (value as number) <= maximum;
    return isWithin ? value as number : wrong(`"${name}" is not a whole number from ${minimum} to ${maximum}`);
  });
}

/** Makes the field of an array whose entries are looked at one by one, each for itself. */
export function entries(items: FieldSchema, maxItems: number): Field<readonly unknown[], true> {
  return field(true, { type: "array", items, minItems: 1, maxItems }, (value, name) => {
    if (!Array.isArray(value) || value.length === 0) return wrong(`"${name}" is not an array with entries`);
    return value.length <= maxItems ? value : new Refusal("limit_reached", `"${name}" has more than ${maxItems} entries`);
  });
}

/** Checks the members of a body, or of what `what` calls it. Members that nobody knows are for a newer server, and ignored. */
export function checkMembers<F extends Fields>(fields: F, source: unknown, what = "The body"): ValuesOf<F> | Refusal {
  if (typeof source !== "object" || source === null || Array.isArray(source)) return wrong(`${what} is JSON, but no object`);
  return check(fields, (name) => Object.hasOwn(source, name) ? (source as Record<string, unknown>)[name] : undefined);
}

/** Checks the parameters of an address. One that nobody knows is a slip, and refused. */
export function checkParameters<F extends Fields>(fields: F, source: URLSearchParams): ValuesOf<F> | Refusal {
  for (const name of source.keys()) {
    if (!Object.hasOwn(fields, name)) return wrong(`There is no parameter ${JSON.stringify(name.slice(0, 32))} here`);
    if (source.getAll(name).length > 1) return wrong(`"${name}" is given more than once`);
  }
  return check(fields, (name) => {
    const text = source.get(name);
    if (text === null) return undefined;
    return fields[name]!.schema.type === "integer" && /^\d{1,16}$/.test(text) ? Number(text) : text;
  });
}

/** Checks the variable parts of a path, which are not decoded yet. */
export function checkPath<F extends Fields>(fields: F, source: Readonly<Record<string, string>>): ValuesOf<F> | Refusal {
  return check(fields, (name) => {
    try {
      return decodeURIComponent(source[name]!);
    } catch {
      return "\0"; // no UTF-8, and no name either
    }
  });
}

function check<F extends Fields>(fields: F, valueOf: (name: string) => unknown): ValuesOf<F> | Refusal {
  const values: Record<string, unknown> = {};
  for (const [name, { required, check }] of Object.entries(fields)) {
    const given = valueOf(name);
    if (given === undefined && !required) continue;
    if (given === undefined) return wrong(`"${name}" is missing`);
    const checked = check(given, name);
    if (checked instanceof Refusal) return checked;
    values[name] = checked;
  }
  return values as ValuesOf<F>;
}

function wrong(message: string): Refusal {
  return new Refusal("bad_frame", message);
}
