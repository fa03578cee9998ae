import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { type AllowedHosts, hostMismatch } from '../admission/host.js';
import { originMismatch } from '../admission/origin.js';
import { type ProxyRules, routeOf } from '../http/forwarding.js';
import { type HostPort, parseHost } from '../http/host.js';
import { type ClientAddress, NO_ADDRESS, parseAddress } from '../net/address.js';

/** The origin of a request to the page, and whether it may be answered. */
export interface RequestFacts {
  /** The client's address, as reported by trusted proxies. */
  readonly address: ClientAddress;
  /** Whether the client uses TLS, to this server or to the nearest trusted proxy. */
  readonly secure: boolean;
  /** What is wrong with `Host` or `Origin`, or `undefined`. */
  readonly refused: string | undefined;
}

/** The application's rules for hosts and proxies. The origin of a request must always be its own host. */
export interface RequestRules {
  readonly proxy: ProxyRules;
  readonly hosts: AllowedHosts | undefined;
}

/**
 * Checks `Host` and `Origin` like those of an upgrade, so that neither another page (CSRF) nor a foreign host name that
 * resolves to this server (DNS rebinding) can use the dashboard with an operator's cookie.
 */
export function judgeRequest(request: IncomingMessage, { proxy, hosts }: RequestRules): RequestFacts {
  const isTls = (request.socket as Partial<TLSSocket>).encrypted === true;
  const peer = parseAddress(request.socket.remoteAddress ?? '', proxy.ipv6Prefix) ?? NO_ADDRESS;
  const { address, secure, viaProxy } = routeOf(peer, isTls, request.rawHeaders, proxy);
  const host = parseHost(request.headers.host ?? '');
  const refused = host === undefined ? 'no valid Host' : refusedFor(request, host, { hosts, secure, peer, viaProxy });
  return { address, secure: isTls || secure === true, refused };
}

interface Facts {
  readonly hosts: AllowedHosts | undefined;
  readonly secure: boolean | undefined;
  readonly peer: { readonly isLoopback: boolean };
  readonly viaProxy: boolean;
}

function refusedFor(request: IncomingMessage, host: HostPort, { hosts, secure, peer, viaProxy }: Facts) {
  // Browsers send no `Origin` for a navigation; the request's own host is used instead.
  const { origin = `${secure === true ? 'https' : 'http'}://${request.headers.host}`.toLowerCase() } = request.headers;
  const isLocalPeer = peer.isLoopback && !viaProxy;
  return hostMismatch(hosts, host) ?? originMismatch(undefined, { origin, host, secure, isLocalPeer });
}
