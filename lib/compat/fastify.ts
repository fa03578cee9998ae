import { replaceMethod, type WebServer } from './node-http.js';
import { reportUse } from './report.js';

/** What is used of Nest's HTTP adapters. */
export interface PlatformAdapter {
  getInstance?(): unknown;
  getType?(): string;
}

const DESCRIPTION = 'fastify.serverBindings';

/**
 * Calls `attach` with each server that Fastify opens beside its first: asked for its default host, it listens at each
 * loopback address, and keeps those servers in a list under a symbol of its own. Each is told of before its first
 * connection can come. Answers what ends it; `undefined` where Fastify keeps no such list.
 */
export function watchSecondaryServers(
  adapter: PlatformAdapter,
  attach: (server: WebServer) => void,
): (() => void) | undefined {
  if (adapter.getType?.() !== 'fastify') return () => undefined;
  const servers = listOf(adapter.getInstance?.());
  reportUse(
    'fastify',
    servers === undefined ? 'first server only: the others are kept in an unknown place' : 'all servers',
  );
  if (servers === undefined) return undefined;
  for (const server of servers) attach(server);
  return replaceMethod(servers, 'push', (was) => (...added) => {
    for (const server of added) attach(server);
    return was.apply(servers, added);
  });
}

function listOf(instance: unknown): WebServer[] | undefined {
  for (
    let holder: unknown = instance;
    holder !== null && holder !== undefined;
    holder = Object.getPrototypeOf(holder)
  ) {
    const symbol = Object.getOwnPropertySymbols(holder).find(({ description }) => description === DESCRIPTION);
    const list: unknown = symbol && (instance as Record<symbol, unknown>)[symbol];
    if (Array.isArray(list)) return list as WebServer[];
  }
  return undefined;
}
