// @ts-nocheck
import type { SharedListener, WebServer } from './shared-listener.js';

/**
 * Fastify, asked for its default host, opens a server for each loopback address and keeps those beside the first in a
 * list. It is the only way to know of them: each is protected before its first connection can come.
 */
export function attachSecondaryServers(
  httpAdapter: { getInstance?(): unknown; getType?(): string },
  port: SharedListener,
): void {
  if (httpAdapter.getType?.() !== 'fastify') return;
  const instance = httpAdapter.getInstance?.() as Record<symbol, unknown> | undefined;
  const bindings = instance && listOf(instance);
  if (bindings === undefined)
    throw new Error('this version of Fastify keeps its secondary servers elsewhere: listen on one address');
  for (const server of bindings) port.attach(server);
  Object.defineProperty(bindings, 'push', {
    configurable: true,
    value(this: WebServer[], ...servers: WebServer[]): number {
      for (const server of servers) port.attach(server);
      return Array.prototype.push.apply(this, servers);
    },
  });
}

function listOf(instance: Record<symbol, unknown>): WebServer[] | undefined {
  for (let holder: object | null = instance; holder !== null; holder = Object.getPrototypeOf(holder) as object | null) {
    const symbol = Object.getOwnPropertySymbols(holder).find(
      ({ description }) => description === 'fastify.serverBindings',
    );
    if (symbol !== undefined) return instance[symbol] as WebServer[];
  }
  return undefined;
}
