import { IDENTITY } from '../version.js';
import { boolean, decimal, duration, headerValue, integer } from './kinds.js';
import { removable, row } from './row.js';

export const CLIENT_ROWS = {
  userAgentHeader: removable(headerValue(), {
    scope: 'a',
    variable: 'WEBSOCKETS_USER_AGENT',
    default: IDENTITY,
    defaultText: '`Node.js/x.y.z nest-secure-ws/X.Y`',
    restricts: false,
    emptyRemoves: true,
    means: '`User-Agent` header of the outbound client. An empty variable removes it too.',
  }),
  maxRedirects: row(integer({ max: 100 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_MAX_REDIRECTS',
    default: 10,
    means: 'Maximum number of redirects that the client follows in one call.',
  }),
  allowPrivateRedirects: row(boolean(), {
    scope: 'a',
    default: false,
    means:
      'Follows a redirect to an address that is not as widely reachable. The order is public, private, loopback, link-local.',
  }),
  backoffInitialDelay: row(duration(), {
    scope: 'a',
    variable: 'WEBSOCKETS_BACKOFF_INITIAL_DELAY',
    default: '5s',
    restricts: false,
    means: 'Upper bound of the first delay of `reconnecting`, which is random from 0 to this value.',
  }),
  backoffMinDelay: row(duration(), {
    scope: 'a',
    variable: 'WEBSOCKETS_BACKOFF_MIN_DELAY',
    default: '3.1s',
    restricts: false,
    means: 'The second delay of `reconnecting`.',
  }),
  backoffFactor: row(decimal({ min: 1, max: 100 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_BACKOFF_FACTOR',
    default: 1.618,
    restricts: false,
    means: 'Factor by which each further delay grows.',
  }),
  backoffMaxDelay: row(duration(), {
    scope: 'a',
    variable: 'WEBSOCKETS_BACKOFF_MAX_DELAY',
    default: '90s',
    restricts: false,
    means: 'Maximum delay, even if the server asks for a longer one with `Retry-After`.',
  }),
} as const;
