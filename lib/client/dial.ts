import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import type { Call } from './call.js';
import { HandshakeError, RedirectRefusedError, TooManyRedirectsError, UnexpectedStatusError } from './errors.js';
import { closedEarly, during, OpenDeadline } from './open-deadline.js';
import { isReadOnly, openSocket, Reach } from './open-socket.js';
import { newKey, requestHead } from './request-head.js';
import { locationOf, type Response, ResponseReader } from './response-reader.js';
import type { ClientRuntime } from './runtime.js';
import { redirectTarget, sameOrigin, type Target } from './target.js';
import { type Agreed, verifyUpgrade } from './verify.js';

/** A connection whose handshake is complete. */
export interface Dialled extends Agreed {
  readonly raw: Socket;
  /** Bytes that arrived after the 101. */
  readonly rest: Buffer;
  /** The URL of the connection after redirects. */
  readonly target: Target;
}

/** Opens a connection, following redirects, within the open timeout. No socket stays open when it rejects. */
export async function dial(call: Call, runtime: ClientRuntime): Promise<Dialled> {
  const deadline = new OpenDeadline(runtime, call.settings.http.openTimeout, call.signal);
  try {
    deadline.check();
    return await follow(call, runtime, deadline);
  } finally {
    deadline.release();
  }
}

async function follow(call: Call, runtime: ClientRuntime, deadline: OpenDeadline): Promise<Dialled> {
  const { maxRedirects, allowPrivateRedirects } = call.settings.client;
  let hop: Hop = { call, target: call.target, least: Reach.LINK_LOCAL };
  for (let redirects = 0; ; redirects++) {
    const arrival = await request(hop, runtime, deadline);
    if ('raw' in arrival) return arrival;
    // protection: client: number of redirects
    if (redirects === maxRedirects) throw new TooManyRedirectsError(maxRedirects);
    // end protection
    const target = redirectTarget(hop.target, arrival.location);
    if (target instanceof RedirectRefusedError) throw target;
    const next = sameOrigin(target, hop.target) ? hop.call : forStrangers(hop.call);
    hop = { call: next, target, least: allowPrivateRedirects ? Reach.LINK_LOCAL : arrival.reach };
  }
}

interface Hop {
  readonly call: Call;
  readonly target: Target;
  readonly least: Reach;
}

interface Redirected {
  readonly location: string;
  readonly reach: Reach;
}

/**
 * The TLS options about whom to trust and how. Those that identify the client are only used for the call's own origin.
 */
const TRUST = ['ca', 'crl', 'minVersion', 'maxVersion', 'ciphers', 'ecdhCurve', 'sigalgs'] as const;

/** The call without everything that is only meant for its own origin. */
function forStrangers(call: Call): Call {
  const tls: ConnectionOptions = Object.fromEntries(
    TRUST.filter((name) => call.tls[name] !== undefined).map((name) => [name, call.tls[name]]),
  );
  return { ...call, tls, headers: [], credentials: undefined, origin: undefined, subprotocols: [], agent: undefined };
}

async function request(hop: Hop, runtime: ClientRuntime, deadline: OpenDeadline): Promise<Dialled | Redirected> {
  const { call, target } = hop;
  const way = { target, tls: call.tls, agent: call.agent, least: hop.least };
  const reached = await openSocket(way, deadline);
  const { socket: raw, reach } = reached;
  try {
    const { settings } = call;
    const { compression, messages } = settings;
    const deflate = runtime.compression({ ...compression, maxSize: messages.maxSize }, compression.budget).offer();
    const asked = { key: newKey(), subprotocols: call.subprotocols, deflate };
    const userAgent = call.userAgent ?? settings.client.userAgentHeader ?? undefined;
    const refused = isReadOnly(raw);
    if (!refused) raw.write(requestHead(target, asked.key, { ...call, userAgent, extensions: deflate.header }));
    const answer = read(raw, new ResponseReader(settings.http), deadline);
    reached.announce?.();
    const response = await answer;
    // The response may come from a proxy, not from the server: its redirects are not followed.
    // protection: client: a proxy that refuses is not followed
    if (refused) throw new UnexpectedStatusError(response.head, response.body);
    // end protection
    if (response.head.status !== 101) return redirectOf(raw, response, reach);
    const agreed = verifyUpgrade(response.head, asked);
    // protection: client: the 101 is verified
    if (agreed instanceof HandshakeError) throw agreed;
    // end protection
    return { ...agreed, raw, rest: response.rest, target };
  } catch (error) {
    raw.destroy();
    throw error;
  }
}

function redirectOf(raw: Socket, { head, body }: Response, reach: Reach): Redirected {
  const location = locationOf(head);
  if (location === undefined) throw new UnexpectedStatusError(head, body);
  raw.destroy();
  return { location, reach };
}

/** Reads one response; the socket is left paused after it. */
function read(raw: Socket, reader: ResponseReader, deadline: OpenDeadline): Promise<Response> {
  return during<Response>(raw, deadline, (resolve, reject) => {
    const take = (outcome: Response | HandshakeError | undefined): void => {
      if (outcome === undefined) return;
      raw.pause();
      if (outcome instanceof HandshakeError) reject(outcome);
      else resolve(outcome);
    };
    const onData = (chunk: Buffer): void => take(reader.push(chunk));
    const onEnd = (): void => {
      const response = reader.end();
      if (response === undefined) reject(closedEarly());
      else resolve(response);
    };
    raw.on('data', onData);
    raw.on('end', onEnd);
    return () => {
      raw.removeListener('data', onData);
      raw.removeListener('end', onEnd);
    };
  });
}
