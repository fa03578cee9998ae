// @ts-nocheck
import type { AddressInfo } from 'node:net';
import type { INestApplication } from '@nestjs/common';
import { type ClientSocket, type ConnectOptions, connect } from '../client/index.js';

/**
 * An open connection to a gateway of an application that listens; `port` for gateways with a port of their own.
 * Rejects as `connect` does. Close it before the application.
 */
export async function connectTo(
  app: INestApplication,
  path = '/',
  { port, ...options }: ConnectOptions & { readonly port?: number } = {},
): Promise<ClientSocket> {
  const server = app.getHttpServer() as { address(): AddressInfo | string | null; setSecureContext?: unknown };
  const address = server.address();
  const number = port ?? (typeof address === 'object' ? address?.port : undefined);
  if (number === undefined) throw new Error('the application does not listen: await app.listen(0) first');
  const scheme = port === undefined && typeof server.setSecureContext === 'function' ? 'wss' : 'ws';
  const name = path.startsWith('/') ? path : `/${path}`;
  return connect(
    `${scheme}://${port === undefined ? hostOf(address as AddressInfo) : 'localhost'}:${number}${name}`,
    options,
  );
}

/** Where a server that listens on all addresses, or on one, can be reached from here. */
function hostOf({ address, family }: AddressInfo): string {
  if (address === '::' || address === '0.0.0.0') return family === 'IPv6' ? '[::1]' : '127.0.0.1';
  return family === 'IPv6' ? `[${address}]` : address;
}
