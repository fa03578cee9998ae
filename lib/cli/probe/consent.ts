import { randomBytes } from 'node:crypto';
import { isProof, PROBE_HEADER } from '../../http/probe-consent.js';
import { CannotRun } from '../terminal.js';
import type { Arena } from './arena.js';
import { Budget } from './budget.js';
import { Peer } from './peer.js';
import { type ProbeUrl, type Resolver, resolveAddresses, type Target } from './target.js';

const CONNECT_TIME = 15_000;

/**
 * Chooses the address of the run: the first one that accepts a connection. No name is looked up afterwards, so that DNS
 * cannot redirect the attacks to another server.
 */
export async function chooseTarget(
  url: ProbeUrl,
  {
    verify,
    signal,
    resolver,
  }: { readonly verify: boolean; readonly signal: AbortSignal; readonly resolver?: Resolver },
): Promise<Target> {
  const { addresses, isLoopback } = await resolveAddresses(url, resolver);
  const failures: string[] = [];
  for (const address of addresses) {
    // On this machine certificates are rarely valid, and no attacker can be in between.
    const target: Target = { ...url, address, isLoopback, verify: verify && !isLoopback };
    try {
      const peer = await Peer.open(target, new Budget(CONNECT_TIME, signal));
      peer.destroy();
      return target;
    } catch (error) {
      failures.push(`${address}: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`);
    }
  }
  throw new CannotRun(`cannot connect to ${url.authority} (${failures.join('; ')})`);
}

/**
 * A server on another machine must prove that it has the same token, with an HMAC of our nonce in its answer to a
 * well-formed upgrade request. Throws `CannotRun` otherwise, before anything else is sent.
 */
export async function requireConsent(arena: Arena, token: string | undefined): Promise<void> {
  const { target } = arena;
  if (target.isLoopback) return;
  if (token === undefined)
    throw new CannotRun(
      `${target.authority} (${target.address}) is not this machine: set the same WEBSOCKETS_PROBE_TOKEN for the server and for this command to prove that it is yours`,
    );
  const nonce = randomBytes(32).toString('base64url');
  const peer = await arena.open().catch((error: NodeJS.ErrnoException) => {
    throw new CannotRun(`cannot connect to ${target.authority} again: ${error.code ?? error.message}`);
  });
  const response = await peer.ask(arena.head({ headers: { [PROBE_HEADER]: nonce } }));
  peer.destroy();
  if (isProof(token, nonce, response?.headers.get(PROBE_HEADER.toLowerCase()))) return;
  const isRedirect = response !== undefined && response.status >= 300 && response.status < 400;
  throw new CannotRun(
    isRedirect
      ? `${target.authority} redirects (${response.status}), and redirects are not followed: pass the final URL`
      : `${target.authority} (${target.address}) has not proved its consent: start it with the same WEBSOCKETS_PROBE_TOKEN; proxies must pass the header Nest-Secure-Ws-Probe`,
  );
}
