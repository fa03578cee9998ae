import type { Socket } from 'node:net';
import type { AddressEntry } from '../admission/address-table.js';
import type { FairScheduler, Scheduled } from '../net/fair-scheduler.js';
import type { Clock, TimerWheel } from '../net/timer-wheel.js';
import type { PerMessageDeflate } from '../protocol/deflate/per-message-deflate.js';
import type { PoolUser } from '../protocol/deflate/pool.js';
import type { ProtocolError, Role } from '../protocol/frame.js';
import type { GatewayCounters } from '../telemetry/metrics.js';
import type { Limits } from './limits.js';
import type { MemoryBudget } from './memory-budget.js';

/** State that all connections of a gateway, or of one call of the client, share. */
export interface ConnectionContext {
  readonly role: Role;
  readonly limits: Limits;
  readonly budget: MemoryBudget;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly scheduler: FairScheduler;
  /** Counters of messages and bytes of all these connections together. */
  readonly counters: GatewayCounters;
  /** Uniform in [0, 1). */
  random(): number;
}

/** The receiver of a connection's messages: the dispatcher on the server, the inbox in the client. */
export interface ConnectionSink {
  /** @internal Whether a waiting message can be taken now. */
  readonly takes: boolean;
  /** @internal Whether messages that arrive after our own close frame are wanted. */
  readonly hearsWhenClosing: boolean;
  /** @internal Called for each message that is within its limits, when it arrives. Returns whether a listener has got it. */
  heard(data: Buffer, isBinary: boolean): boolean;
  /**
   * @internal Takes a message, in the order of arrival. The sink calls `connection.finished()` when the place of the
   * message is free again.
   */
  take(data: Buffer, isBinary: boolean): void;
  /** @internal */ pinged(data: Buffer): void;
  /** @internal */ ponged(data: Buffer): void;
  /**
   * @internal Called when the connection fails because of an invalid frame, an exceeded limit, or a message that could
   * not be sent.
   */
  failed(error: Error): void;
  /** @internal Called once, when TCP has ended and all earlier messages have been handled. */
  ended(code: number, reason: Buffer): void;
}

/** The interface of a connection for its own parts. */
export interface ConnectionCore extends PoolUser, Scheduled {
  readonly context: ConnectionContext;
  readonly transport: Socket;
  readonly sink: ConnectionSink;
  readonly deflate: PerMessageDeflate | undefined;
  readonly account: AddressEntry | undefined;
  /** @internal */ readonly held: number;
  readonly lastMessageAt: number;
  readonly state: string;
  readonly isOpen: boolean;
  readonly isServing: boolean;
  readonly isPaused: boolean;
  readonly isCut: boolean;
  readonly keepalive: { pong(data: Buffer): boolean };
  readonly output: { hold(): void; cork(): void; answer(ping: Buffer): void; judge(): void };
  readonly writer: { flush(): void; control(opcode: 9 | 10, data: Buffer, callback: undefined): void } | undefined;
  schedule(at: number): void;
  settle(): void;
  touch(now: number): void;
  excuse(silence: number, now: number): void;
  handled(): void;
  outputIsLong(isLong: boolean): void;
  watchDrain(): void;
  unwatchDrain(): void;
  peerClosed(code: number, reason: Buffer): void;
  breach(reason: string): void;
  end(code: number, reason: string): void;
  fail(error: ProtocolError): void;
  breakOff(error: Error): void;
  kill(cause: string): void;
  endForMemory(cause: string): void;
  /** @internal */ finish(): void;
}

/** Called when the message was handed to the operating system, or with the error that prevented it. */
export type SendCallback = (error?: Error) => void;
/** The same for a ping or a pong. */
export type ControlCallback = (error: Error) => void;
/** Options of a message, as in `ws`. */
export interface SendOptions {
  binary?: boolean | undefined;
  compress?: boolean | undefined;
  fin?: boolean | undefined;
  mask?: boolean | undefined;
}
/** The data that can be sent: text, or bytes. */
export type Sendable = string | ArrayBufferView | ArrayBuffer | Blob;
