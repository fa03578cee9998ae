import type { Severity } from '../doctor/finding.js';
import type { Arena } from './arena.js';
import type { Outcome } from './outcome.js';

export interface Attack {
  /** Stable. */
  readonly id: string;
  readonly group: 'head' | 'request' | 'origin' | 'frames' | 'messages' | 'floods' | 'slow';
  /** What is tried. */
  readonly title: string;
  /** How bad it is where it is accepted. */
  readonly severity: Severity;
  /** The option of nest-secure-ws that governs it; `undefined` where it is not configurable. */
  readonly setting?: string;
  /** Milliseconds that a server has to react. Those of `slow` attacks run beside the others. */
  readonly patience: number;
  run(arena: Arena, patience: number): Promise<Outcome>;
}

/** What every run answers for one attack. Part of the documented JSON output. */
export interface Result extends Omit<Outcome, 'abrupt'> {
  readonly id: string;
  readonly group: Attack['group'];
  readonly title: string;
  readonly severity: Severity;
  readonly setting: string | undefined;
  readonly variable: string | undefined;
  /** What it cost the server, where that could be measured and it was accepted. */
  readonly cost?: {
    /** Growth of the server's resident memory at its peak, bytes. */
    readonly memory?: number;
    /** Seconds of the server's CPU. */
    readonly cpu?: number;
    /** Longest round trip of another connection meanwhile, milliseconds. */
    readonly latency?: number;
  };
}
