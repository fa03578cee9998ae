import type { PeerCertificate } from 'node:tls';
import { abortAttempt, type GatewayType, setPrincipal, UpgradeAttempt } from '../admission/attempt.js';
import { parseHost } from '../http/host.js';
import { NO_ADDRESS, parseAddress } from '../net/address.js';

/** The properties of an attempt for a guard under test. All of them have defaults. */
export interface AttemptOptions {
  /** Default: `127.0.0.1`. */
  readonly ip?: string;
  /** The socket's address. Default: `ip`. Another address simulates a trusted proxy. */
  readonly remoteAddress?: string;
  /** Whether the client uses TLS. Default: false. */
  readonly secure?: boolean;
  /** The request target, including the query. Default: `/`. */
  readonly path?: string;
  /** Headers by name; several values become several lines. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly cookies?: Readonly<Record<string, string>>;
  readonly origin?: string;
  /** Default: `localhost`. */
  readonly host?: string;
  readonly protocols?: readonly string[];
  readonly certificate?: PeerCertificate;
  /** The subprotocols of the gateway (`connections.subprotocols`). Default: none. */
  readonly subprotocols?: readonly string[];
  /** Decoded parameters of the path, such as `{ id: '5' }`. Default: none. */
  readonly params?: Readonly<Record<string, string>>;
  /** The gateway's path pattern. Default: the path. */
  readonly route?: string;
  readonly gateway?: GatewayType;
  /** The principal that earlier guards returned. */
  readonly principal?: unknown;
  /** Aborts the signal of the attempt. */
  readonly signal?: AbortSignal;
}

class AnyGateway {}

/**
 * Creates an attempt for unit tests of guards: `await guard.admit(attempt({ cookies: { session: 'x' } }))`. Throws a
 * `TypeError` for an invalid address or host.
 */
export function attempt<P = unknown>(options: AttemptOptions = {}): UpgradeAttempt<P> {
  const { ip = '127.0.0.1', path = '/', host = 'localhost', secure = false, protocols = [] } = options;
  const { remoteAddress = ip } = options;
  const query = path.indexOf('?');
  const pathOnly = query < 0 ? path : path.slice(0, query);
  const made = new UpgradeAttempt<P>({
    address: addressOf(ip),
    peer: addressOf(remoteAddress),
    tls: secure && remoteAddress === ip,
    secure,
    viaProxy: remoteAddress !== ip,
    path: pathOnly,
    rawQuery: query < 0 ? '' : path.slice(query + 1),
    route: options.route ?? pathOnly,
    params: Object.assign(Object.create(null), options.params),
    rawHeaders: rawHeadersOf(options, host),
    host: valid(parseHost(host), `host '${host}'`),
    origin: options.origin,
    protocols,
    subprotocols: options.subprotocols ?? [],
    gateway: options.gateway ?? AnyGateway,
    certificate: () => options.certificate,
  });
  setPrincipal(made, options.principal);
  options.signal?.addEventListener('abort', () => abortAttempt(made, toError(options.signal?.reason)), { once: true });
  return made;
}

const addressOf = (text: string) => (text === '' ? NO_ADDRESS : valid(parseAddress(text), `address '${text}'`));

function valid<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new TypeError(`${what} is not valid`);
  return value;
}

const toError = (reason: unknown): Error =>
  reason instanceof Error ? reason : new DOMException('aborted', 'AbortError');

/** The value of a `Cookie` header; empty without cookies. */
export const cookieHeader = (cookies: Readonly<Record<string, string>>): string =>
  Object.entries(cookies)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join('; ');

function rawHeadersOf({ headers = {}, cookies = {}, origin, protocols = [] }: AttemptOptions, host: string): string[] {
  const cookie = cookieHeader(cookies);
  const all: Record<string, string | readonly string[]> = { Host: host, ...headers };
  if (origin !== undefined) all['Origin'] = origin;
  if (cookie !== '') all['Cookie'] = cookie;
  if (protocols.length > 0) all['Sec-WebSocket-Protocol'] = protocols.join(', ');
  return Object.entries(all).flatMap(([name, value]) => [value].flat().flatMap((each) => [name, each]));
}
