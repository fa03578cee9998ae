// @ts-nocheck
import type { ResolvedRate } from '../config/kinds.js';
import type { GatewaySettings } from '../config/settings.js';

/** What one connection of a gateway may do: the settings in the form in which the hot path reads them, one object per gateway. */
export interface Limits {
  readonly maxSize: number;
  readonly maxFragments: number;
  readonly assemblyTimeout: number;
  readonly rate: ResolvedRate;
  readonly byteRate: ResolvedRate;
  readonly byteRatePerIp: ResolvedRate;
  readonly controlRate: ResolvedRate;
  readonly strikes: ResolvedRate;
  readonly maxQueue: number;
  readonly maxQueueBytes: number;
  readonly concurrency: number;
  readonly maxStreams: number;
  readonly handlerTimeout: number;
  readonly maxBuffered: number;
  readonly writeLimit: number;
  readonly stallTimeout: number;
  readonly pingInterval: number;
  readonly pingTimeout: number;
  readonly idleTimeout: number;
  readonly maxLifetime: number;
  readonly closeTimeout: number;
  readonly hookTimeout: number;
}

const NEVER = Number.POSITIVE_INFINITY;

/** The longest that a timer of Node's can wait; longer ones fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

export const limitsOf = ({ messages, buffers, keepalive, connections }: GatewaySettings): Limits =>
  Object.freeze({
    maxSize: messages.maxSize,
    maxFragments: messages.maxFragments,
    assemblyTimeout: messages.assemblyTimeout,
    rate: messages.rate,
    byteRate: messages.byteRate,
    byteRatePerIp: messages.byteRatePerIp,
    controlRate: messages.controlRate,
    strikes: messages.strikes,
    maxQueue: messages.maxQueue,
    maxQueueBytes: messages.maxQueueBytes ?? messages.maxSize,
    concurrency: messages.concurrency,
    maxStreams: messages.maxStreams,
    handlerTimeout: messages.handlerTimeout ?? NEVER,
    maxBuffered: buffers.maxBuffered,
    writeLimit: buffers.writeLimit,
    stallTimeout: buffers.stallTimeout,
    pingInterval: keepalive.pingInterval ?? NEVER,
    pingTimeout: keepalive.pingTimeout ?? NEVER,
    idleTimeout: keepalive.idleTimeout ?? NEVER,
    maxLifetime: keepalive.maxLifetime ?? NEVER,
    closeTimeout: Math.min(keepalive.closeTimeout, LONGEST_TIMER),
    hookTimeout: connections.guardTimeout,
  });
