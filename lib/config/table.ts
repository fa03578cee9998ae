import { IDENTITY } from '../version.js';
import type { ForeignUpgrades, GuardLike, MessageParser } from './code-types.js';
import { choice, code, headerValue, secret } from './kinds.js';
import { optional, removable, row } from './row.js';
import { BANS_ROWS, CONNECTIONS_ROWS, PROXY_ROWS } from './table.admission.js';
import { CLIENT_ROWS } from './table.client.js';
import { CLUSTER_ROWS } from './table.cluster.js';
import { BUFFERS_ROWS, COMPRESSION_ROWS, KEEPALIVE_ROWS, MESSAGES_ROWS, SHUTDOWN_ROWS } from './table.connection.js';
import { HTTP_ROWS, LISTEN_ROWS, TLS_ROWS } from './table.handshake.js';

/**
 * Every setting. `node scripts/option-table.mjs` writes from it: the option interfaces (`options.ts`), the reference,
 * `.env.example` and the JSON schema.
 */
export const TABLE = {
  http: HTTP_ROWS,
  serverHeader: removable(headerValue(), {
    scope: 'p',
    variable: 'WEBSOCKETS_SERVER',
    default: IDENTITY,
    defaultText: '`Node.js/x.y.z nest-secure-ws/X.Y`',
    restricts: false,
    emptyRemoves: true,
    means: '`Server` header of the 101 and of every refusal. An empty variable removes it too.',
  }),
  listen: LISTEN_ROWS,
  tls: TLS_ROWS,
  proxy: PROXY_ROWS,
  connections: CONNECTIONS_ROWS,
  bans: BANS_ROWS,
  cluster: CLUSTER_ROWS,
  messages: MESSAGES_ROWS,
  buffers: BUFFERS_ROWS,
  keepalive: KEEPALIVE_ROWS,
  compression: COMPRESSION_ROWS,
  shutdown: SHUTDOWN_ROWS,
  probe: {
    token: optional(secret(32), {
      scope: 'a',
      variable: 'WEBSOCKETS_PROBE_TOKEN',
      secret: true,
      restricts: false,
      means:
        'Consent to be attacked by `nest-secure-ws probe` from other machines: an upgrade request with a nonce in `Nest-Secure-Ws-Probe` is answered with its HMAC, whatever becomes of it. Remove it when you are done.',
    }),
  },
  dashboard: {
    token: optional(secret(32), {
      scope: 'a',
      variable: 'WEBSOCKETS_DASHBOARD_TOKEN',
      secret: true,
      restricts: true,
      means:
        'What operators log in to the page of `SecureWsDashboardModule` with, where that has neither a `token` nor `guards` of its own. At least 32 characters.',
    }),
  },
  nativeAccept: row(choice('auto', 'off'), {
    scope: 'a',
    variable: 'WEBSOCKETS_NATIVE_ACCEPT',
    default: 'auto',
    means:
      "Where connections are judged first. `auto`: on Node's handles, before Node makes sockets of them, where this version of Node is known; `off`: on sockets, through Node's public interface alone.",
  }),
  foreignUpgrades: row(choice('auto', 'refuse'), {
    scope: 'a',
    variable: 'WEBSOCKETS_FOREIGN_UPGRADES',
    default: 'auto',
    means:
      'Upgrades for a path without a gateway. `auto`: they go to other `upgrade` listeners of the server where there are any, else 404; `refuse`: 404.',
  }),
  foreign: optional(code<readonly ForeignUpgrades[]>('a list of paths', 'readonly ForeignUpgrades[]', Array.isArray), {
    scope: 'a',
    means:
      "Paths on the application's own port whose upgrades another library answers (socket.io, graphql-ws): they pass the same checks and guards as those of gateways, and hold a slot until their socket closes, before that library is told of them.",
  }),
  guards: optional(code<readonly GuardLike[]>('a list of guards', 'readonly GuardLike[]', Array.isArray), {
    scope: 'ag',
    means:
      "Admission guards in order: classes, instances or functions. The application's run before a gateway's; `beforeBuiltIn(guard)` runs before the built-in checks.",
  }),
  messageParser: optional(
    code<MessageParser>('a function', 'MessageParser', (value) => typeof value === 'function'),
    {
      scope: 'ag',
      defaultText: 'JSON',
      means:
        "Turns a message (text as a string, binary as a Buffer) into `{ event, data }`, as with Nest's `WsAdapter`. A message for which it returns nothing is dropped without an answer.",
    },
  ),
  keepRequest: row(
    code<boolean>('true or false', 'boolean', (value) => typeof value === 'boolean'),
    {
      scope: 'ag',
      default: false,
      means: 'Keeps the upgrade request as `socket.request`, which costs memory per connection.',
    },
  ),
  client: CLIENT_ROWS,
} as const;
