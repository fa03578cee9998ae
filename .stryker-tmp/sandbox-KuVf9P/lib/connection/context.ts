// @ts-nocheck
import type { AddressEntry } from '../admission/address-table.js';
import type { Clock, TimerWheel } from '../net/timer-wheel.js';
import type { Telemetry } from '../telemetry/events.js';
import type { Connection } from './connection.js';
import type { Limits } from './limits.js';
import type { MemoryBudget } from './memory-budget.js';
import type { SecureSocket } from './secure-socket.js';

/** What all connections of a gateway share. */
export interface ConnectionContext {
  readonly path: string;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly budget: MemoryBudget;
  readonly telemetry: Telemetry;
  readonly turns: Turns;
  readonly rooms: RoomsOfGateway;
  /** Hands a message to its handler; the dispatcher calls `connection.finished()` when its place is free again. */
  dispatch(connection: Connection, data: Buffer, isBinary: boolean): void;
  /** TCP has ended: the slot is free, the hooks may run. Called once. */
  closed(connection: Connection, code: number, reason: Buffer): void;
  /** It is somebody else's from now on; throws a `RangeError`, and changes nothing, where that cannot be. */
  changeUser(connection: Connection, principal: unknown, userKey: string | number | undefined): void;
  /** A handler has taken longer than it may. */
  handlerOverdue(connection: Connection, now: number): number;
}

/** Who is in which room. */
export interface RoomsOfGateway {
  check(room: string): void;
  join(socket: SecureSocket, room: string): void;
  leave(socket: SecureSocket, room: string): void;
  of(socket: SecureSocket): ReadonlySet<string>;
}

/** What is done once per turn of the event loop, for all connections together. */
export interface Turns {
  /** Lets go of what was corked, at the end of this turn. */
  uncork(connection: Connection): void;
  /** Goes on with the waiting messages in the next turn, each connection in its turn. */
  resume(connection: Connection, isLarge: boolean): void;
  /** Whether a large message may still be handled in this turn. */
  hasRoomFor(size: number): boolean;
  /** A large message is handled in this turn. */
  took(size: number): void;
}

/** What is known of a peer when its connection opens. */
export interface Peer {
  readonly ip: string;
  readonly secure: boolean;
  readonly origin: string | undefined;
  readonly rawQuery: string;
  /** Changes, as its key does, when the session is renewed for somebody else. */
  principal: unknown;
  userKey: string | undefined;
  /** Of the session at first, in milliseconds since the epoch; `undefined`: never. */
  readonly expiresAt: number | undefined;
  readonly address: AddressEntry;
  /** Gives the slot back; idempotent. */
  release(): void;
}

/** A message handler as Nest binds it for one connection. */
export interface BoundHandler {
  callback(data: unknown, event: unknown): unknown;
}

/** A handler that runs. */
export interface RunningTask {
  readonly dueAt: number;
  next: RunningTask | undefined;
}

/** The part of a connection that belongs to the dispatcher. */
export class DispatchState {
  /** Nest has been told of the connection. */
  known = false;
  /** The handlers of all its gateways, one after the other. */
  handlers: readonly BoundHandler[] | undefined = undefined;
  /** Handlers that run, newest first. */
  tasks: RunningTask | undefined = undefined;
  /** Observables that still emit. */
  streams: Set<{ unsubscribe(): void }> | undefined = undefined;
  /** Buckets of handlers with a rate of their own, by handler. */
  rates: Map<number, number> | undefined = undefined;
  /** What Nest wants to be told when it ends. */
  disconnected: Disconnected | Disconnected[] | undefined = undefined;
}

export type Disconnected = (code: number, reason: Buffer) => void;
