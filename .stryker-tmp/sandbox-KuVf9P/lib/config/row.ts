// @ts-nocheck
import type { Kind } from './kinds.js';

/** Where a setting may be given: **a** the application, **p** a port, **g** a gateway. */
export type Scope = 'a' | 'p' | 'g' | 'ag';

/** Everything there is to say of one setting, said once: types, checks, errors and the README's table come from it. */
export interface Row<Input = unknown, Value = unknown, S extends Scope = Scope> extends Kind<Input, Value> {
  readonly row: true;
  readonly scope: S;
  /** The environment variable, where the setting has one. */
  readonly variable?: string;
  /** As one would write it. */
  readonly default?: unknown;
  /** What the README says instead of the default's value. */
  readonly defaultText?: string;
  /** `null`, or an empty variable, takes the setting away. */
  readonly removable: boolean;
  /** The sentence of the table: meaning, unit, and what a breach gets. */
  readonly means: string;
  /** Never print the value. */
  readonly secret: boolean;
}

interface Details<S extends Scope> {
  readonly scope: S;
  readonly variable?: string;
  readonly default?: unknown;
  readonly defaultText?: string;
  readonly means: string;
  readonly secret?: boolean;
}

/** A setting that always has a value. */
export const row = <I, V, S extends Scope>(
  kind: Kind<I, V>,
  details: Details<S> & { default: unknown },
): Row<I, V, S> => ({
  row: true,
  removable: false,
  secret: false,
  ...details,
  ...kind,
});

/** A setting that may be absent. */
export const optional = <I, V, S extends Scope>(kind: Kind<I, V>, details: Details<S>): Row<I, V | undefined, S> => ({
  row: true,
  removable: false,
  secret: false,
  ...details,
  ...kind,
});

/** A setting that `null`, or an empty variable, removes. */
export const removable = <I, V, S extends Scope>(
  kind: Kind<I, V>,
  details: Details<S>,
): Row<I | null, V | null, S> => ({
  row: true,
  secret: false,
  ...details,
  ...(kind as Kind<I | null, V | null>),
  removable: true,
});

/** Rows by name, in groups. */
export interface Group {
  readonly [name: string]: Row | Group;
}

export const isRow = (value: Row | Group): value is Row => (value as Row).row === true;

type IsRow = { readonly row: true };
type InputValue<R> = R extends { readonly input?: infer Input } ? Exclude<Input, undefined> : never;
type Resolved<R> = R extends { parse(raw: unknown): infer Value | undefined } ? Value : never;

/** What one may write: every setting optional, each in any accepted form. */
export type InputOf<T> = {
  readonly [K in keyof T]?: T[K] extends IsRow
    ? InputValue<T[K]>
    : { readonly [L in keyof T[K]]?: InputValue<T[K][L]> };
};

/** What code reads: every setting in its one resolved form. */
export type ValuesOf<T> = {
  readonly [K in keyof T]: T[K] extends IsRow ? ValueOf<T[K]> : { readonly [L in keyof T[K]]: ValueOf<T[K][L]> };
};
type ValueOf<R> = R extends Row<infer _I, infer Value, infer _S> ? Value : Resolved<R>;

/** The keys of rows that a gateway may set. */
type OfGateway<G> = { [K in keyof G]: G[K] extends { readonly scope: 'a' } ? never : K }[keyof G];

/** The part of the table that a gateway may set. */
export type GatewayRows<T> = {
  readonly [K in keyof T as T[K] extends IsRow
    ? T[K] extends { readonly scope: 'a' }
      ? never
      : K
    : OfGateway<T[K]> extends never
      ? never
      : K]: T[K] extends IsRow ? T[K] : Pick<T[K], OfGateway<T[K]>>;
};
