import { STATUS_CODES } from 'node:http';
import { errorPlace, errorWords, MAX_WORDS } from '../errors/error-text.js';
import { REFUSALS, type Refusal, withDetail } from '../errors/refusals.js';
import type { AttemptInit } from './attempt-init.js';

/**
 * The refusal for what a guard threw: 500, or the status of what looks like an `HttpException`, and of that nothing
 * but the status. The words are for the log.
 */
export function refusalOfThrown(error: unknown, facts: Pick<AttemptInit, 'rawHeaders' | 'rawQuery'>): Refusal {
  const words = withoutSecrets(errorWords(error, MAX_READ), facts).slice(0, MAX_WORDS);
  const status = statusOf(error);
  if (status === undefined) return withDetail(REFUSALS.guardFailed, `${words} ${errorPlace(error)}`.trimEnd());
  return { reason: 'guard', status, text: STATUS_CODES[status] ?? 'Refused', detail: words };
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

/** Cut only after the secrets are out: half of one is one too. */
const MAX_READ = 16 * 1024;
const SECRET_HEADERS = /^(?:authorization|proxy-authorization|cookie|sec-websocket-protocol)$/i;
/** Shorter words are no secrets, and stand in every sentence. */
const SHORTEST_SECRET = 6;
/** Bytes that are searched for secrets: a megabyte of cookies would hold the event loop for a tenth of a second. */
const MOST_CARRIED = 32 * 1024;
const NOT_SHOWN = '(its words are not shown: the request carries too much that they might repeat)';

/** An error often repeats what it was about: a token, a cookie, a value of the query. */
function withoutSecrets(words: string, { rawHeaders, rawQuery }: Pick<AttemptInit, 'rawHeaders' | 'rawQuery'>): string {
  const carriers = rawHeaders.filter((_, index) => index % 2 === 1 && SECRET_HEADERS.test(rawHeaders[index - 1]!));
  if (carriers.reduce((sum, { length }) => sum + length, rawQuery.length) > MOST_CARRIED) return NOT_SHOWN;
  const secrets = [...carriers, rawQuery, decoded(rawQuery)]
    .flatMap((carrier) => [carrier, ...carrier.split(/[\s;,&=]+/)])
    .filter((secret) => secret.length >= SHORTEST_SECRET);
  return secrets.reduce((text, secret) => text.replaceAll(secret, '…'), words);
}

function decoded(query: string): string {
  try {
    return decodeURIComponent(query);
  } catch {
    return '';
  }
}
