import { STATUS_CODES } from 'node:http';
import { REFUSALS, type Refusal, withDetail } from '../errors/refusals.js';

const MAX_DETAIL = 300;

/**
 * The refusal for what a guard threw: 500, or the status of what looks like an `HttpException`, and of that nothing
 * but the status. The words are for the log.
 */
export function refusalOfThrown(error: unknown): Refusal {
  const detail = describe(error);
  const status = statusOf(error);
  if (status === undefined) return withDetail(REFUSALS.guardFailed, detail);
  return { reason: 'guard', status, text: STATUS_CODES[status] ?? 'Refused', detail };
}

function statusOf(error: unknown): number | undefined {
  try {
    const getStatus = (error as { getStatus?: unknown } | null | undefined)?.getStatus;
    const status: unknown = typeof getStatus === 'function' ? getStatus.call(error) : undefined;
    return Number.isInteger(status) && (status as number) >= 400 && (status as number) < 600
      ? (status as number)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Whatever was thrown, in few words; reading it may throw again. */
function describe(error: unknown): string {
  try {
    return String(error).slice(0, MAX_DETAIL);
  } catch {
    return 'something that has no text';
  }
}
