// @ts-nocheck
import { IDENTITY } from '../version.js';
import { boolean, decimal, duration, headerValue, integer } from './kinds.js';
import { removable, row } from './row.js';

export const CLIENT_ROWS = {
  userAgentHeader: removable(headerValue(), {
    scope: 'a',
    variable: 'WEBSOCKETS_USER_AGENT',
    default: IDENTITY,
    defaultText: '`Node.js/x.y.z nest-secure-ws/X.Y`',
    means: '`User-Agent` of the outbound client. Removable',
  }),
  maxRedirects: row(integer({ max: 100 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_MAX_REDIRECTS',
    default: 10,
    means: 'redirects that the client follows',
  }),
  allowPrivateRedirects: row(boolean(), {
    scope: 'a',
    default: false,
    means: 'follow a redirect from a public address to a loopback, private or link-local one. Code only',
  }),
  backoffInitialDelay: row(duration(), {
    scope: 'a',
    variable: 'WEBSOCKETS_BACKOFF_INITIAL_DELAY',
    default: '5s',
    means: 'the first delay of `reconnecting` is random between 0 and this',
  }),
  backoffMinDelay: row(duration(), {
    scope: 'a',
    variable: 'WEBSOCKETS_BACKOFF_MIN_DELAY',
    default: '3.1s',
    means: 'the second delay',
  }),
  backoffFactor: row(decimal({ min: 1, max: 100 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_BACKOFF_FACTOR',
    default: 1.618,
    means: 'growth of each later delay',
  }),
  backoffMaxDelay: row(duration(), {
    scope: 'a',
    variable: 'WEBSOCKETS_BACKOFF_MAX_DELAY',
    default: '90s',
    means: 'longest delay, `Retry-After` included',
  }),
} as const;
