import { REFUSALS, type Refusal } from '../errors/refusals.js';
import type { HeadLimits, RequestHead } from './head.js';

const REQUEST_LINE_REST = '  HTTP/\r\n'.length;
const HEADER_LINE_REST = ': \r\n'.length;

/**
 * Holds a head that Node has parsed (a later request of a keep-alive connection) to the same limits: its lines are
 * taken to be as long as they are when written with single spaces.
 */
export function measureHead(head: RequestHead, limits: HeadLimits): Refusal | undefined {
  const { method, target, version, rawHeaders } = head;
  if (method.length + target.length + version.length + REQUEST_LINE_REST > limits.maxLineLength) {
    return REFUSALS.requestLineTooLong;
  }
  if (rawHeaders.length / 2 > limits.maxNumHeaders) return REFUSALS.tooManyHeaders;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.length + rawHeaders[i + 1]!.length + HEADER_LINE_REST > limits.maxLineLength) {
      return REFUSALS.headerLineTooLong;
    }
  }
  return undefined;
}
