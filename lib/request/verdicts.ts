import { REFUSALS, type Refusal } from '../errors/refusals.js';
import type { HeadFault } from './line-meter.js';

/** Tells a refusal from the value that a function of this room gives otherwise. */
export const isRefusal = (value: object): value is Refusal => 'reason' in value && 'status' in value;

const BY_FAULT: Readonly<Record<HeadFault, Refusal>> = Object.freeze({
  'start-line-too-long': REFUSALS.requestLineTooLong,
  'line-too-long': REFUSALS.headerLineTooLong,
  'too-many-lines': REFUSALS.tooManyHeaders,
  malformed: REFUSALS.malformedHead,
});

/** How a server answers a head that breaks a limit or the grammar: 414, 431, 431, 400. */
export const refusalOf = (fault: HeadFault): Refusal => BY_FAULT[fault];
