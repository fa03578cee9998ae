import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { CannotRun, safeText } from '../terminal.js';

/** The parts of a URL, before any name is looked up. */
export interface ProbeUrl {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  /** Path and query. */
  readonly path: string;
  /** The value of `Host`, with the port if it is not the default one. */
  readonly authority: string;
}

/** A server that may be attacked: one address, fixed for the whole run. */
export interface Target extends ProbeUrl {
  /** The address for all connections. No name is looked up again. */
  readonly address: string;
  readonly isLoopback: boolean;
  /** Whether a certificate that does not verify ends the connection. */
  readonly verify: boolean;
}

const TLS = new Map([
  ['ws:', false],
  ['http:', false],
  ['wss:', true],
  ['https:', true],
]);

/** Parses the argument of the command. Throws `CannotRun` for an invalid URL. */
export function parseProbeUrl(text: string): ProbeUrl {
  let url: URL;
  try {
    url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `ws://${text}`);
  } catch {
    throw new CannotRun(`${safeText(text)} is not a URL; expected one such as ws://localhost:3000/chat`);
  }
  const tls = TLS.get(url.protocol);
  if (tls === undefined)
    throw new CannotRun(`${url.protocol}// is not supported; expected ws://, wss://, http:// or https://`);
  if (url.username !== '' || url.password !== '')
    throw new CannotRun('a URL with credentials is not accepted: pass them with --header');
  const port = Number(url.port) || (tls ? 443 : 80);
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port,
    tls,
    path: `${url.pathname}${url.search}`,
    authority: url.host,
  };
}

/**
 * `loopback` addresses reach only this machine: 127.0.0.0/8, ::1, and 127.0.0.0/8 mapped into IPv6. Forms that a
 * gateway translates (NAT64, 6to4) do not count.
 */
export function kindOf(address: string): 'loopback' | 'remote' | 'none' {
  if (!ipaddr.isValid(address) || isIP(address) === 0) return 'none';
  const parsed = ipaddr.parse(address);
  const plain =
    parsed.kind() === 'ipv6' && (parsed as ipaddr.IPv6).isIPv4MappedAddress()
      ? (parsed as ipaddr.IPv6).toIPv4Address()
      : parsed;
  const range = plain.range();
  if (range === 'loopback') return 'loopback';
  return range === 'unspecified' || range === 'multicast' || range === 'broadcast' ? 'none' : 'remote';
}

export type Resolver = (host: string) => Promise<readonly string[]>;

const systemResolver: Resolver = async (host) =>
  (await lookup(host, { all: true, verbatim: true })).map(({ address }) => address);

/**
 * The addresses that may be used. A name that resolves both to this machine and to others is refused, because it would
 * depend on chance whether consent is needed.
 */
export async function resolveAddresses(
  { host }: ProbeUrl,
  resolve: Resolver = systemResolver,
): Promise<{ readonly addresses: readonly string[]; readonly isLoopback: boolean }> {
  let addresses: readonly string[];
  try {
    addresses = isIP(host) === 0 ? await resolve(host) : [host];
  } catch (error) {
    throw new CannotRun(
      `${safeText(host)} cannot be resolved: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`,
    );
  }
  const kinds = new Set(addresses.map(kindOf));
  if (addresses.length === 0) throw new CannotRun(`${safeText(host)} has no address`);
  if (kinds.has('none'))
    throw new CannotRun(
      `${safeText(host)} resolves to ${addresses.join(', ')}, which is not the address of a single server; use 127.0.0.1 or ::1 for this machine`,
    );
  if (kinds.size > 1)
    throw new CannotRun(
      `${safeText(host)} resolves to this machine and to others (${addresses.join(', ')}): pass the address instead`,
    );
  return { addresses, isLoopback: kinds.has('loopback') };
}
