import type { Kind } from './kinds.js';

/** The places in which a setting can be set: **a** the application, **p** a port, **g** a gateway. */
export type Scope = 'a' | 'p' | 'g' | 'ag';

/** The description of one setting, from which types, checks, error texts, the reference and `.env.example` are generated. */
export interface Row<Input = unknown, Value = unknown> extends Kind<Input, Value> {
  readonly row: true;
  readonly scope: Scope;
  /** The environment variable, if the setting has one. */
  readonly variable?: string;
  /** The default, in the notation of the option. */
  readonly default?: unknown;
  /** Replaces the value of the default in the documentation. */
  readonly defaultText?: string;
  /** `null`, or `none` in the variable, removes the setting. */
  readonly removable: boolean;
  /** Meaning, unit and consequence of exceeding a limit, as Markdown sentences. */
  readonly means: string;
  /** The value is never printed. */
  readonly secret: boolean;
  /**
   * The setting restricts access or resources: if `ConfigService` does not return its variable, the start fails. For
   * other settings this is a warning.
   */
  readonly restricts: boolean;
  /** An empty variable removes the setting. For all other settings an empty variable counts as not set. */
  readonly emptyRemoves: boolean;
}

interface Details {
  readonly scope: Scope;
  readonly variable?: string;
  readonly default?: unknown;
  readonly defaultText?: string;
  readonly means: string;
  readonly secret?: boolean;
  readonly restricts?: boolean;
  readonly emptyRemoves?: boolean;
}

const COMMON = { row: true, removable: false, secret: false, restricts: true, emptyRemoves: false } as const;

/** A setting that always has a value. */
export const row = <I, V>(kind: Kind<I, V>, details: Details & { default: unknown }): Row<I, V> => ({
  ...COMMON,
  ...details,
  ...kind,
});

/** A setting that may be absent. */
export const optional = <I, V>(kind: Kind<I, V>, details: Details): Row<I, V | undefined> => ({
  ...COMMON,
  ...details,
  ...(kind as Kind<I, V | undefined>),
});

/** A setting that `null`, or `none` in the variable, removes. */
export const removable = <I, V>(kind: Kind<I, V>, details: Details): Row<I | null, V | null> => ({
  ...COMMON,
  ...details,
  ...(kind as Kind<I | null, V | null>),
  removable: true,
});

/** Rows by name, in groups. */
export interface Group {
  readonly [name: string]: Row | Group;
}

export const isRow = (value: Row | Group): value is Row => (value as Row).row === true;

type ValueOf<R> = R extends Row<infer _I, infer Value> ? Value : never;

/** The type of the resolved settings, as code reads them. */
export type ValuesOf<T> = {
  readonly [K in keyof T]: T[K] extends { readonly row: true }
    ? ValueOf<T[K]>
    : { readonly [L in keyof T[K]]: ValueOf<T[K][L]> };
};
