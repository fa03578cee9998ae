import { replaceMethod, type WebServer } from './node-http.js';
import { reportUse } from './report.js';

/** The members of Nest's HTTP adapters that are used. */
export interface PlatformAdapter {
  getInstance?(): unknown;
  getType?(): string;
}

const DESCRIPTION = 'fastify.serverBindings';

/**
 * Calls `attach` with each server that Fastify opens in addition to its first one: for its default host it listens at
 * each loopback address, and stores those servers in a list under a symbol. `attach` is called before the first
 * connection of each. Returns a function that stops this; `undefined` if Fastify has no such list.
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
