/**
 * `error`: the deployment will fail or is open; `warning`: it will misbehave under load or attack; `note`: worth
 * knowing, counted only with `--strict`.
 */
export type Severity = 'error' | 'warning' | 'note';

/** A line for `.env`. */
export interface Assignment {
  readonly variable: string;
  readonly value: string;
}

/** Something about a deployment that should be changed. Part of the documented JSON output. */
export interface Finding {
  /** Which check found it: one of the identifiers of `docs/command-line.md`. */
  readonly check: string;
  readonly severity: Severity;
  /** The gateway, port or file, where it is about one. */
  readonly where?: string;
  /** What was seen. */
  readonly what: string;
  /** What follows from it. */
  readonly why: string;
  /** What to do. */
  readonly fix: string;
  /** The variables to set, and to what. */
  readonly set: readonly Assignment[];
}

/** Whether a check ran, and why not. */
export interface CheckResult {
  readonly check: string;
  readonly status: 'passed' | 'found' | 'skipped';
  readonly reason?: string;
}

export const set = (variable: string, value: string | number): Assignment => ({ variable, value: String(value) });

const RANK: Readonly<Record<Severity, number>> = { error: 0, warning: 1, note: 2 };
export const bySeverity = (a: Finding, b: Finding): number => RANK[a.severity] - RANK[b.severity];
