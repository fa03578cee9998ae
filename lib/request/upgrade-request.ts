import type { ExtensionOffer } from './extensions.js';
import type { RequestHead } from './head.js';
import type { HostPort } from './host.js';

/**
 * A request that asks for a WebSocket and may (RFC 6455, section 4.2.1). What a connection keeps of it (query, origin,
 * subprotocols) does not hold the head in memory; the other texts may, where the head is small.
 */
export interface UpgradeRequest {
  readonly head: RequestHead;
  /** The raw target up to `?`: to be compared byte for byte, never normalised. */
  readonly path: string;
  /** What follows the first `?`; empty without one. */
  readonly rawQuery: string;
  readonly host: HostPort;
  /** As it came; undefined where there is none. */
  readonly origin: string | undefined;
  /** `Sec-WebSocket-Key`. */
  readonly key: string;
  /** Offered subprotocols in their order. */
  readonly protocols: readonly string[];
  readonly extensions: readonly ExtensionOffer[];
}
