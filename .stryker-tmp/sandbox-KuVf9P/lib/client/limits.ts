// @ts-nocheck
import type { ResolvedRate } from '../config/kinds.js';
import type { Call } from './call.js';

/** What one connection may do: the settings in the form in which they are read. */
export interface ClientLimits {
  readonly maxSize: number;
  readonly maxFragments: number;
  readonly assemblyTimeout: number;
  readonly maxQueue: number;
  readonly maxQueueBytes: number;
  readonly maxBuffered: number;
  readonly writeLimit: number;
  readonly stallTimeout: number;
  readonly pingInterval: number;
  readonly pingTimeout: number;
  readonly idleTimeout: number;
  readonly maxLifetime: number;
  readonly closeTimeout: number;
  /** Rates: only where the call names them. */
  readonly rate: ResolvedRate | undefined;
  readonly byteRate: ResolvedRate | undefined;
  readonly controlRate: ResolvedRate | undefined;
}

const NEVER = Number.POSITIVE_INFINITY;
/** The longest that a timer of Node's can wait; longer ones fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

export function limitsOf({ settings, named }: Call): ClientLimits {
  const { messages, buffers, keepalive } = settings;
  const ifNamed = (key: 'rate' | 'byteRate' | 'controlRate') =>
    named.has(`messages.${key}`) ? messages[key] : undefined;
  return Object.freeze({
    maxSize: messages.maxSize,
    maxFragments: messages.maxFragments,
    assemblyTimeout: messages.assemblyTimeout,
    maxQueue: messages.maxQueue,
    maxQueueBytes: messages.maxQueueBytes ?? messages.maxSize,
    maxBuffered: buffers.maxBuffered,
    writeLimit: buffers.writeLimit,
    stallTimeout: buffers.stallTimeout,
    pingInterval: keepalive.pingInterval ?? NEVER,
    pingTimeout: keepalive.pingTimeout ?? NEVER,
    idleTimeout: keepalive.idleTimeout ?? NEVER,
    maxLifetime: keepalive.maxLifetime ?? NEVER,
    closeTimeout: Math.min(keepalive.closeTimeout, LONGEST_TIMER),
    rate: ifNamed('rate'),
    byteRate: ifNamed('byteRate'),
    controlRate: ifNamed('controlRate'),
  });
}
