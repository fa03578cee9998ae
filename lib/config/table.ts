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
        'Allows `nest-secure-ws probe` with the same token to attack this server from other machines: the response to an upgrade request with a nonce in `Nest-Secure-Ws-Probe` contains its HMAC, also if the request is refused. Remove the token after the test.',
    }),
  },
  dashboard: {
    token: optional(secret(32), {
      scope: 'a',
      variable: 'WEBSOCKETS_DASHBOARD_TOKEN',
      secret: true,
      restricts: true,
      means:
        'Token with which operators log in to the page of `SecureWsDashboardModule`, unless the module has a `token` or `guards` of its own. At least 32 characters.',
    }),
  },
  nativeAccept: row(choice('auto', 'off'), {
    scope: 'a',
    variable: 'WEBSOCKETS_NATIVE_ACCEPT',
    default: 'auto',
    means:
      "Where new connections are checked first. `auto`: on Node's internal handles, before Node creates sockets, if this version of Node supports it; `off`: on sockets, through Node's public interface only.",
  }),
  foreignUpgrades: row(choice('auto', 'refuse'), {
    scope: 'a',
    variable: 'WEBSOCKETS_FOREIGN_UPGRADES',
    default: 'auto',
    means:
      'What happens to upgrades for a path without a gateway. `auto`: they are passed to other `upgrade` listeners of the server, or get 404 if there are none; `refuse`: they get 404.',
  }),
  foreign: optional(code<readonly ForeignUpgrades[]>('a list of paths', 'readonly ForeignUpgrades[]', Array.isArray), {
    scope: 'a',
    means:
      "Paths on the application's own port whose upgrades another library answers (socket.io, graphql-ws). Before the library receives such an upgrade, it passes the same checks and guards as upgrades of gateways; it holds a slot until its socket closes.",
  }),
  guards: optional(code<readonly GuardLike[]>('a list of guards', 'readonly GuardLike[]', Array.isArray), {
    scope: 'ag',
    means:
      "Admission guards in order: classes, instances or functions. The application's guards run before a gateway's; `beforeBuiltIn(guard)` runs before the built-in checks.",
  }),
  messageParser: optional(
    code<MessageParser>('a function', 'MessageParser', (value) => typeof value === 'function'),
    {
      scope: 'ag',
      defaultText: 'JSON',
      means:
        "Function that converts a message (text as a string, binary as a Buffer) to `{ event, data }`, as with Nest's `WsAdapter`. A message for which it returns nothing is dropped without an answer.",
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
