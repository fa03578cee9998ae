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

/** What all connections of a gateway, or of a call of the client, share. */
export interface ConnectionContext {
  readonly role: Role;
  readonly limits: Limits;
  readonly budget: MemoryBudget;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly scheduler: FairScheduler;
  /** Messages and bytes of all these connections together. */
  readonly counters: GatewayCounters;
  /** Uniform in [0, 1). */
  random(): number;
}

/** Where what a connection receives goes: the dispatcher of a server, the inbox of a client. */
export interface ConnectionSink {
  /** @internal Whether a message that waits can be taken now. */
  readonly takes: boolean;
  /** @internal Whether messages that come after our own close frame are wanted. */
  readonly hearsWhenClosing: boolean;
  /** @internal A message has arrived, and is within its limits. */
  heard(data: Buffer, isBinary: boolean): void;
  /** @internal Takes a message, in the order in which they came; `connection.finished` follows when its place is free again. */
  take(data: Buffer, isBinary: boolean): void;
  /** @internal */ pinged(data: Buffer): void;
  /** @internal */ ponged(data: Buffer): void;
  /** @internal The connection fails: what the peer has sent is no frame, or too much. */
  failed(error: Error): void;
  /** @internal TCP has ended, and what had come before is handled. Called once. */
  ended(code: number, reason: Buffer): void;
}

/** What the parts of a connection see of it, and of each other. */
export interface ConnectionCore extends PoolUser, Scheduled {
  readonly context: ConnectionContext;
  readonly transport: Socket;
  readonly sink: ConnectionSink;
  readonly deflate: PerMessageDeflate | undefined;
  readonly account: AddressEntry | undefined;
  /** @internal */ readonly held: number;
  readonly lastMessageAt: number;
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

/** Called when the message was handed to the operating system, or with what came in between. */
export type SendCallback = (error?: Error) => void;
/** The same for a ping or a pong. */
export type ControlCallback = (error: Error) => void;
/** Options of a message, as of `ws`. */
export interface SendOptions {
  binary?: boolean | undefined;
  compress?: boolean | undefined;
  fin?: boolean | undefined;
  mask?: boolean | undefined;
}
/** What can be sent: text, or bytes. */
export type Sendable = string | ArrayBufferView | ArrayBuffer | Blob;
