// @ts-nocheck
import { IDENTITY } from '../version.js';
import type { GuardLike, MessageParser } from './code-types.js';
import { choice, code, headerValue } from './kinds.js';
import { optional, removable, row } from './row.js';
import { CONNECTIONS_ROWS, PROXY_ROWS } from './table.admission.js';
import { CLIENT_ROWS } from './table.client.js';
import { BUFFERS_ROWS, COMPRESSION_ROWS, KEEPALIVE_ROWS, MESSAGES_ROWS, SHUTDOWN_ROWS } from './table.connection.js';
import { HTTP_ROWS, LISTEN_ROWS, TLS_ROWS } from './table.opening.js';

/** Every setting there is. The types, the checks, the error texts and the README's table are made from this. */
export const TABLE = {
  http: HTTP_ROWS,
  /** The `Server` header; `null` removes it. */
  serverHeader: removable(headerValue(), {
    scope: 'p',
    variable: 'WEBSOCKETS_SERVER',
    default: IDENTITY,
    defaultText: '`Node.js/x.y.z nest-secure-ws/X.Y`',
    means: '`Server` on the 101 and on every refusal. Removable',
  }),
  listen: LISTEN_ROWS,
  tls: TLS_ROWS,
  proxy: PROXY_ROWS,
  connections: CONNECTIONS_ROWS,
  messages: MESSAGES_ROWS,
  buffers: BUFFERS_ROWS,
  keepalive: KEEPALIVE_ROWS,
  compression: COMPRESSION_ROWS,
  shutdown: SHUTDOWN_ROWS,
  /** Whose the upgrades are that ask for a path without a gateway. */
  foreignUpgrades: row(choice('auto', 'refuse'), {
    scope: 'a',
    variable: 'WEBSOCKETS_FOREIGN_UPGRADES',
    default: 'auto',
    means:
      '`auto`: unknown paths go to other `upgrade` listeners of the server where there are any, else 404; `refuse`: 404',
  }),
  /** Admission guards, in order; those of the application run before a gateway's. */
  guards: optional(code<readonly GuardLike[]>('a list of guards', Array.isArray), {
    scope: 'ag',
    means:
      'admission guards, in order: classes, instances or functions; `beforeBuiltIn(guard)` runs before the built-in ones. Code only',
  }),
  /** Turns a message into `{ event, data }`; text arrives as a string, binary as a Buffer. */
  messageParser: optional(
    code<MessageParser>('a function', (value) => typeof value === 'function'),
    {
      scope: 'ag',
      defaultText: 'JSON',
      means: "as of Nest's `WsAdapter`; one that returns nothing drops the message in silence. Code only",
    },
  ),
  /** Keep the upgrade request reachable as `socket.request`. */
  keepRequest: row(
    code<boolean>('true or false', (value) => typeof value === 'boolean'),
    {
      scope: 'ag',
      default: false,
      means: 'keeps the upgrade request reachable as `socket.request`. Code only',
    },
  ),
  client: CLIENT_ROWS,
} as const;
