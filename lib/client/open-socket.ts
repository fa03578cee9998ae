import { type LookupAddress, type LookupOptions, lookup as lookUp } from 'node:dns';
import { EventEmitter } from 'node:events';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { connect as connectTcp, isIP, type LookupFunction, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { parseAddress } from '../net/address.js';
import { addressList } from '../net/address-list.js';
import { connectWithSharedRead } from '../net/shared-read.js';
import type { ConnectionAgent } from './call.js';
import { RedirectRefusedError } from './errors.js';
import { type OpenDeadline, waitFor } from './open-deadline.js';
import type { Target } from './target.js';

/** The parameters for reaching a target. */
export interface Way {
  readonly target: Target;
  readonly tls: ConnectionOptions;
  readonly agent: ConnectionAgent | undefined;
  /** The target comes from a redirect from an address of this reach: addresses of a smaller one are refused. */
  readonly least: Reach;
}

export interface Reached {
  readonly socket: Socket;
  /** The reach of the peer's address; `PUBLIC` if a proxy may be in between. */
  readonly reach: Reach;
  /** Tells the agent that the socket has a listener; a proxy agent then replays the proxy's response. */
  announce?(): void;
}

/**
 * From how far away an address can be reached. A redirect may not lead to an address of a smaller reach: the server
 * could make the client connect to what the server itself cannot reach.
 */
export const Reach = { LINK_LOCAL: 0, LOOPBACK: 1, PRIVATE: 2, PUBLIC: 3 } as const;
export type Reach = (typeof Reach)[keyof typeof Reach];
const NAMES = ['link-local', 'loopback', 'private', 'public'] as const;

const LOOPBACK = addressList('loopback', '0.0.0.0/8');
/** Private networks (RFC 1918, RFC 4193), and those of carriers (RFC 6598). */
const PRIVATE = addressList('uniquelocal', '100.64.0.0/10');
/**
 * Link-local networks, other networks that are not globally reachable (RFC 6890 and the IANA registries of
 * special-purpose addresses: protocol assignments, documentation, benchmarks, dummy prefixes, SRv6), and IPv6 forms that
 * contain IPv4 addresses: translated (RFC 2765), 6to4 and Teredo.
 */
const SPECIAL = addressList(
  'linklocal',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '240.0.0.0/4',
  '224.0.0.0/4',
  '::/96',
  '::ffff:0:0:0/96',
  '64:ff9b::/104',
  '64:ff9b::7f00:0/104',
  '64:ff9b:1::/48',
  '100::/64',
  '100:0:0:1::/64',
  // Of the protocol assignments (RFC 2928) those that are not globally reachable; Teredo is the first.
  '2001::/32',
  '2001:2::/48',
  '2001:10::/28',
  '2001:db8::/32',
  '2002::/16',
  '3fff::/20',
  '5f00::/16',
  'ff00::/8',
  'fec0::/10',
);

/** The reach of an address; the smallest one for an invalid address. */
export function reachOf(text: string | undefined): Reach {
  const address = text === undefined ? undefined : parseAddress(text.replace(/%.*$/, ''));
  if (address === undefined) return Reach.LINK_LOCAL;
  if (LOOPBACK.has(address)) return Reach.LOOPBACK;
  if (PRIVATE.has(address)) return Reach.PRIVATE;
  return SPECIAL.has(address) ? Reach.LINK_LOCAL : Reach.PUBLIC;
}

/** Opens a socket to the target, including TLS if required. No socket stays open when it rejects. */
export async function openSocket(way: Way, deadline: OpenDeadline): Promise<Reached> {
  return way.agent === undefined ? direct(way, deadline) : throughAgent(way, way.agent, deadline);
}

async function direct(way: Way, deadline: OpenDeadline): Promise<Reached> {
  const { host, port, secure } = way.target;
  // A literal address is checked before anything is sent to it; the addresses of a name are checked in the lookup.
  if (isIP(host) !== 0) judge(way, reachOf(host));
  const tcp = guard((secure ? connectTcp : connectWithSharedRead)({ ...lookupOf(way), host, port }));
  await waitFor(tcp, 'connect', deadline);
  try {
    const reach = reachOf(tcp.remoteAddress);
    judge(way, reach);
    return { socket: secure ? await encrypt(tcp, way, deadline) : tcp, reach };
  } catch (error) {
    tcp.destroy();
    throw error;
  }
}

/** The caller's own resolver is one of the options for `tls.connect`. */
function lookupOf({ tls, least }: Way): { lookup?: LookupFunction } {
  const { lookup } = tls;
  if (least > Reach.LINK_LOCAL) return { lookup: lookupWithin(lookup ?? (lookUp as LookupFunction), least) };
  return lookup === undefined ? {} : { lookup };
}

/** A lookup that only returns addresses of at least this reach, so that no connection to another address is started. */
export const lookupWithin =
  (lookup: LookupFunction, least: Reach): LookupFunction =>
  (host: string, options: LookupOptions, callback) => {
    lookup(host, options as never, (error, found, family) => {
      // Node refuses values that are not addresses.
      if (error || (typeof found !== 'string' && !Array.isArray(found))) return callback(error, found, family);
      const all: LookupAddress[] = typeof found === 'string' ? [{ address: found, family: family ?? 0 }] : found;
      const open = all.filter(({ address }) => reachOf(address) >= least);
      const [first] = open;
      if (first === undefined) callback(tooNear(least), options.all ? [] : '', 0);
      else if (options.all) callback(null, open);
      else callback(null, first.address, first.family);
    });
  };

function judge({ least }: Way, reach: Reach): void {
  // protection: client: no redirect into the private network
  if (reach < least) throw tooNear(least);
  // end protection
}

const tooNear = (least: Reach): RedirectRefusedError =>
  new RedirectRefusedError(`redirect from a ${NAMES[least]} address to one that is not as widely reachable`);

async function encrypt(tcp: Socket, { target, tls }: Way, deadline: OpenDeadline): Promise<Socket> {
  const socket = guard(connectTls({ ...tlsOptions(target, tls), socket: tcp }));
  await waitFor(socket, 'secureConnect', deadline);
  return socket;
}

/** No server name indication for addresses (RFC 6066, section 3). */
function tlsOptions({ host, port }: Target, tls: ConnectionOptions): ConnectionOptions {
  const servername = isIP(host) === 0 ? host : '';
  return { ALPNProtocols: ['http/1.1'], servername, ...contained(tls), host, port };
}

/**
 * Node has no default for options that are present but undefined, and does not catch errors thrown by
 * `checkServerIdentity`.
 */
function contained(tls: ConnectionOptions): ConnectionOptions {
  const options: ConnectionOptions = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
  const check = options.checkServerIdentity;
  if (typeof check === 'function')
    options.checkServerIdentity = (host, certificate) => {
      try {
        return check(host, certificate);
      } catch (error) {
        return error as Error;
      }
    };
  return options;
}

/** Makes sure that the socket has an error listener from the beginning. */
function guard<S extends Socket>(socket: S): S {
  socket.on('error', ignore);
  return socket;
}

const ignore = (): void => {};

async function throughAgent(way: Way, agent: ConnectionAgent, deadline: OpenDeadline): Promise<Reached> {
  const request = new EventEmitter();
  if (isPlain(agent) && isIP(way.target.host) !== 0) judge(way, reachOf(way.target.host));
  const socket = guard(await deadline.race(created(way, agent, request), (late) => guard(late).destroy()));
  const announce = (): void => void request.emit('socket', socket);
  // A proxy has refused: its answer can be read, but nothing can be written.
  if (isReadOnly(socket)) return { socket, reach: Reach.PUBLIC, announce };
  const tls = socket as TLSSocket & { secureConnecting?: boolean };
  // protection: client: TLS through an agent
  if (way.target.secure && tls.encrypted !== true) {
    socket.destroy();
    throw new TypeError('the agent returned a socket without TLS for a wss: URL');
  }
  // end protection
  if (tls.secureConnecting === true) await waitFor(socket, 'secureConnect', deadline);
  else if (socket.connecting) await waitFor(socket, 'connect', deadline);
  const reach = isPlain(agent) ? reachOf(socket.remoteAddress) : Reach.PUBLIC;
  if (reach < way.least) {
    socket.destroy();
    throw tooNear(way.least);
  }
  return { socket, reach, announce };
}

/** Whether nothing can be written to the socket. */
export const isReadOnly = (socket: Socket): boolean => !socket.writable && !socket.connecting && !socket.destroyed;

/**
 * Whether this is one of Node's own agents. Any other agent may use a proxy, whose address says nothing about the
 * server.
 */
const isPlain = (agent: object): boolean => agent.constructor === HttpAgent || agent.constructor === HttpsAgent;

interface AgentInsides {
  readonly options?: object;
  readonly protocol?: string;
  /** Agents made with `agent-base` (the proxy agents) open their sockets here. */
  connect?(request: EventEmitter, options: object): Promise<unknown> | unknown;
}

async function created({ target, tls, least }: Way, agent: ConnectionAgent, request: EventEmitter): Promise<Socket> {
  const insides = agent as AgentInsides;
  const { host, port, secure } = target;
  const options = secure ? tlsOptions(target, { ...tls, ...insides.options }) : { ...insides.options };
  const { lookup = lookUp as LookupFunction } = options as { lookup?: LookupFunction };
  // A name of the same origin may have another address by now.
  const judged = least > Reach.LINK_LOCAL && isPlain(agent) ? { lookup: lookupWithin(lookup, least) } : {};
  const endpoint = { ...options, ...judged, host, port, secureEndpoint: secure };
  if (typeof insides.connect === 'function') return asSocket(await insides.connect(request, endpoint));
  const protocol = secure ? 'https:' : 'http:';
  if (insides.protocol !== undefined && insides.protocol !== protocol)
    throw new TypeError(`the agent is for ${insides.protocol}, but the URL needs ${protocol}`);
  return new Promise<Duplex>((resolve, reject) => {
    // Node's own agents call back without a socket, upon 'connect'.
    const socket = agent.createConnection(endpoint, (error, later) =>
      error ? reject(error) : later && resolve(later),
    );
    if (socket) resolve(socket.on('error', ignore));
  }).then(asSocket);
}

function asSocket(given: unknown): Socket {
  const socket = given as Socket | undefined;
  if (typeof socket?.write === 'function' && typeof socket.destroy === 'function') return guard(socket);
  throw new TypeError('the agent returned no socket');
}
