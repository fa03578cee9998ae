import type { Kind } from './kinds.js';

/** Where a setting may be given: **a** the application, **p** a port, **g** a gateway. */
export type Scope = 'a' | 'p' | 'g' | 'ag';

/** One setting, described once: types, checks, error texts, the reference and `.env.example` are made from it. */
export interface Row<Input = unknown, Value = unknown> extends Kind<Input, Value> {
  readonly row: true;
  readonly scope: Scope;
  /** The environment variable, where the setting has one. */
  readonly variable?: string;
  /** As one would write it. */
  readonly default?: unknown;
  /** What documentation says in place of the default's value. */
  readonly defaultText?: string;
  /** `null`, or `none` in the variable, takes the setting away. */
  readonly removable: boolean;
  /** Meaning, unit and the answer to a breach, in Markdown sentences. */
  readonly means: string;
  /** Never print the value. */
  readonly secret: boolean;
  /**
   * The setting keeps somebody or something out: where its variable is lost on its way, the start fails. Of a setting
   * that does not restrict a lost variable is a warning.
   */
  readonly restricts: boolean;
  /** An empty variable removes the setting; of all others an empty variable counts as not set. */
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

/** What code reads: every setting in its one resolved form. */
export type ValuesOf<T> = {
  readonly [K in keyof T]: T[K] extends { readonly row: true }
    ? ValueOf<T[K]>
    : { readonly [L in keyof T[K]]: ValueOf<T[K][L]> };
};
