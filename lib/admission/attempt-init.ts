import type { PeerCertificate } from 'node:tls';
import type { HostPort } from '../request/host.js';
import type { AddressEntry } from '../stores/address-entry.js';
import type { ClientAddress } from './address.js';

/** A gateway's class. */
export type GatewayType = abstract new (...args: never[]) => unknown;

/** What an attempt is made of: values that are there anyway, and functions for what few guards ask for. */
export interface AttemptInit {
  /** The client's address, seen through trusted proxies. */
  readonly address: ClientAddress;
  /** The socket's own peer: the proxy, where there is one. */
  readonly peer: ClientAddress;
  /** What the store remembers of `address`; the rate and capacity guards need it. */
  readonly entry?: AddressEntry;
  /** TLS ends here. */
  readonly tls: boolean;
  /** Whether the client speaks TLS, where that is known: see `ClientRoute`. */
  readonly secure: boolean | undefined;
  /** The peer is a trusted proxy. */
  readonly viaProxy: boolean;
  /** The raw request target up to `?`, and what follows it. */
  readonly path: string;
  readonly rawQuery: string;
  readonly rawHeaders: readonly string[];
  readonly host: HostPort;
  /** The value of `Origin`, where there is one. */
  readonly origin: string | undefined;
  /** The subprotocols that the client offers, in its order. */
  readonly protocols: readonly string[];
  readonly gateway: GatewayType;
  readonly certificate?: () => PeerCertificate | undefined;
}
