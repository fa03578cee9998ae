import type { Refusal } from '../errors/refusals.js';
import type { Refused } from './guards.js';

/** How a guard of the library itself says no: with a reason of its own for the counters, and words for the log. */
export class BuiltInRefusal implements Refused {
  readonly decision = 'refuse';
  readonly status: number;
  readonly text: string;

  constructor(readonly refusal: Refusal) {
    this.status = refusal.status;
    this.text = refusal.text;
  }
}
