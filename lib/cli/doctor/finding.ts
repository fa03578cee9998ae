/**
 * `error`: the deployment will fail or is exposed; `warning`: it will misbehave under load or attack; `note`:
 * informational, counted only with `--strict`.
 */
export type Severity = 'error' | 'warning' | 'note';

/** A line for `.env`. */
export interface Assignment {
  readonly variable: string;
  readonly value: string;
}

/** A problem of a deployment. Part of the documented JSON output. */
export interface Finding {
  /** The check that found it: one of the identifiers in `docs/command-line.md`. */
  readonly check: string;
  readonly severity: Severity;
  /** The gateway, port or file, if the finding is about one. */
  readonly where?: string;
  /** The observation. */
  readonly what: string;
  /** The consequence. */
  readonly why: string;
  /** The recommended action. */
  readonly fix: string;
  /** The variables to set, with values. */
  readonly set: readonly Assignment[];
}

/** Whether a check was made, and the reason if not. */
export interface CheckResult {
  readonly check: string;
  readonly status: 'passed' | 'found' | 'skipped';
  readonly reason?: string;
}

export const set = (variable: string, value: string | number): Assignment => ({ variable, value: String(value) });

const RANK: Readonly<Record<Severity, number>> = { error: 0, warning: 1, note: 2 };
export const bySeverity = (a: Finding, b: Finding): number => RANK[a.severity] - RANK[b.severity];
