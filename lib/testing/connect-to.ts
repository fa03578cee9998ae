import type { AddressInfo } from 'node:net';
import type { INestApplication } from '@nestjs/common';
import { type ConnectOptions, connect } from '../client/index.js';
import { cookieHeader } from './attempt.js';
import { TestClient, type TestClientOptions } from './test-client.js';

/** The options for a test connection: those of `connect`, and the following. */
export interface UpgradeOptions extends ConnectOptions {
  /** Cookies by name; they are written into the `Cookie` header. */
  readonly cookies?: Readonly<Record<string, string>>;
  /** The port, for a gateway with a dedicated port. Default: the application's port. */
  readonly port?: number;
}

export interface ConnectToOptions extends UpgradeOptions, TestClientOptions {}

/**
 * Opens a connection to a gateway of an application that listens. Rejects like `connect`: with an
 * `UnexpectedStatusError` if the upgrade is refused. Close the client before the application, or let the application
 * close it. Throws an `Error` if the application does not listen.
 *
 * @example const client = await connectTo<ChatEvents>(app, '/chat', { cookies: { session: 'x' } });
 */
export async function connectTo<
  Received extends object = Record<string, unknown>,
  Sent extends object = Record<string, unknown>,
>(
  app: INestApplication,
  path = '/',
  { timeout, parse, ...options }: ConnectToOptions = {},
): Promise<TestClient<Received, Sent>> {
  const { url, rest } = callOf(app, path, options);
  const given = { ...(timeout !== undefined && { timeout }), ...(parse !== undefined && { parse }) };
  return new TestClient(await connect(url, rest), given);
}

/** URL and options of `connect` for a path of an application. */
export function callOf(
  app: INestApplication,
  path: string,
  { port, cookies = {}, ...options }: UpgradeOptions,
): { readonly url: string; readonly rest: ConnectOptions } {
  const server = app.getHttpServer() as { address(): AddressInfo | string | null; setSecureContext?: unknown };
  const address = server.address();
  const number = port ?? (typeof address === 'object' ? address?.port : undefined);
  if (number === undefined) throw new Error('the application does not listen: await app.listen(0) first');
  const scheme = port === undefined && typeof server.setSecureContext === 'function' ? 'wss' : 'ws';
  const host = port === undefined ? hostOf(address as AddressInfo) : 'localhost';
  const cookie = cookieHeader(cookies);
  return {
    url: `${scheme}://${host}:${number}${path.startsWith('/') ? path : `/${path}`}`,
    rest: cookie === '' ? options : { ...options, headers: { ...options.headers, Cookie: cookie } },
  };
}

/** The address at which a server that listens on all addresses, or on one, can be reached locally. */
function hostOf({ address, family }: AddressInfo): string {
  if (address === '::' || address === '0.0.0.0') return family === 'IPv6' ? '[::1]' : '127.0.0.1';
  return family === 'IPv6' ? `[${address}]` : address;
}
