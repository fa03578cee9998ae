import type { Socket } from 'node:net';
import type { ProxyEndpoint, ProxyHeader } from './proxy-protocol.js';

/** A connection that a proxy relays with the PROXY protocol. */
export interface ProxiedConnection {
  readonly header: ProxyHeader;
  /** The proxy's own address. */
  readonly proxy: string;
  /** When the proxy connected, on the clock of the deadlines. */
  readonly acceptedAt: number;
}

const connections = new WeakMap<Socket, ProxiedConnection>();

/** The header that a proxy has sent on a socket; `undefined` if there is none. */
export const proxiedBy = (socket: Socket): ProxiedConnection | undefined => connections.get(socket);

/**
 * Marks a socket as a relayed connection: `remoteAddress`, `remotePort` and `remoteFamily`, which frameworks and
 * applications read, return the values of the header, also after the connection has ended.
 */
export function markProxied(socket: Socket, connection: ProxiedConnection): void {
  connections.set(socket, connection);
  const { source } = connection.header;
  if (source !== undefined) rename(socket, source);
}

function rename(socket: Socket, { address, port }: ProxyEndpoint): void {
  const values = { remoteAddress: address, remotePort: port, remoteFamily: address.includes(':') ? 'IPv6' : 'IPv4' };
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(socket, name, { configurable: true, enumerable: false, writable: true, value });
  }
}
