// @ts-nocheck
import diagnostics_channel from 'node:diagnostics_channel';
import type { RefusalReason } from '../http/refusal.js';

/** An opening handshake was turned away. */
export interface RefusedEvent {
  readonly reason: RefusalReason;
  readonly status: number;
  /** The address that counts: the client's behind a trusted proxy, else the socket's. */
  readonly ip: string;
  readonly path: string | undefined;
  readonly detail: string | undefined;
}

/** A connection was opened. */
export interface OpenedEvent {
  readonly ip: string;
  readonly path: string;
}

/** A connection has ended. */
export interface ClosedEvent {
  readonly ip: string;
  readonly path: string;
  readonly code: number;
  /** What we ended it for, if we did. */
  readonly cause: string | undefined;
}

/** Something of the application, or of the peer's, went wrong where nobody awaits it. */
export interface FaultEvent {
  readonly where: FaultPlace;
  readonly error: unknown;
  readonly path: string | undefined;
}
export type FaultPlace =
  | 'guard'
  | 'handleConnection'
  | 'handleDisconnect'
  | 'handler'
  | 'filter'
  | 'parser'
  | 'socket'
  | 'tls'
  | 'listener'
  | 'internal';

/** A remark for whoever runs the application. */
export interface NoticeEvent {
  readonly message: string;
}

/**
 * What happens, told on `diagnostics_channel` as `nest-secure-ws:refused`, `:opened`, `:closed`, `:fault`, `:notice`.
 * Rooms publish; the log and the counters subscribe.
 */
export class Telemetry {
  private readonly subscribers: Partial<Subscriber>[] = [];

  subscribe(subscriber: Partial<Subscriber>): void {
    this.subscribers.push(subscriber);
  }

  refused(event: RefusedEvent): void {
    for (const subscriber of this.subscribers) subscriber.refused?.(event);
    if (REFUSED.hasSubscribers) REFUSED.publish(event);
  }

  opened(event: OpenedEvent): void {
    for (const subscriber of this.subscribers) subscriber.opened?.(event);
    if (OPENED.hasSubscribers) OPENED.publish(event);
  }

  closed(event: ClosedEvent): void {
    for (const subscriber of this.subscribers) subscriber.closed?.(event);
    if (CLOSED.hasSubscribers) CLOSED.publish(event);
  }

  fault(where: FaultPlace, error: unknown, path?: string): void {
    const event: FaultEvent = { where, error, path };
    for (const subscriber of this.subscribers) subscriber.fault?.(event);
    if (FAULT.hasSubscribers) FAULT.publish(event);
  }

  notice(message: string): void {
    const event: NoticeEvent = { message };
    for (const subscriber of this.subscribers) subscriber.notice?.(event);
    if (NOTICE.hasSubscribers) NOTICE.publish(event);
  }
}

export interface Subscriber {
  refused(event: RefusedEvent): void;
  opened(event: OpenedEvent): void;
  closed(event: ClosedEvent): void;
  fault(event: FaultEvent): void;
  notice(event: NoticeEvent): void;
}

const REFUSED = diagnostics_channel.channel('nest-secure-ws:refused');
const OPENED = diagnostics_channel.channel('nest-secure-ws:opened');
const CLOSED = diagnostics_channel.channel('nest-secure-ws:closed');
const FAULT = diagnostics_channel.channel('nest-secure-ws:fault');
const NOTICE = diagnostics_channel.channel('nest-secure-ws:notice');
