import type { Severity } from '../doctor/finding.js';
import type { Arena } from './arena.js';
import type { Outcome } from './outcome.js';

export interface Attack {
  /** A stable identifier. */
  readonly id: string;
  readonly group: 'head' | 'request' | 'origin' | 'frames' | 'messages' | 'floods' | 'slow';
  /** A description of the attack. */
  readonly title: string;
  /** The severity if the attack is accepted. */
  readonly severity: Severity;
  /** The option of nest-secure-ws that governs it; `undefined` if it is not configurable. */
  readonly setting?: string;
  /** Milliseconds that a server has to react. `slow` attacks run concurrently with the others. */
  readonly patience: number;
  run(arena: Arena, patience: number): Promise<Outcome>;
}

/** The result of one attack. Part of the documented JSON output. */
export interface Result extends Omit<Outcome, 'abrupt'> {
  readonly id: string;
  readonly group: Attack['group'];
  readonly title: string;
  readonly severity: Severity;
  readonly setting: string | undefined;
  readonly variable: string | undefined;
  /** The cost for the server, if the attack was accepted and the cost could be measured. */
  readonly cost?: {
    /** Peak growth of the server's resident memory in bytes. */
    readonly memory?: number;
    /** CPU time of the server in seconds. */
    readonly cpu?: number;
    /** Maximum round-trip time of another connection during the attack, in milliseconds. */
    readonly latency?: number;
  };
}
