import type { Socket } from 'node:net';
import type { AddressEntry } from '../admission/address-table.js';
import type { SharedSlot } from '../admission/shared-slot.js';
import type { AsyncContext } from '../net/async-context.js';
import { CloseCode } from '../protocol/close-codes.js';
import type { Telemetry } from '../telemetry/events.js';
import type { RequestValues } from '../telemetry/redact.js';
import type { ConnectedSocket } from './connected-socket.js';
import { type Agreed, Connection } from './connection.js';
import type { ConnectionContext } from './context.js';
import { Pause } from './read-gate.js';

const NEVER = Number.POSITIVE_INFINITY;

/** What all connections of a gateway share. */
export interface GatewayContext<PeerSocket extends ConnectedSocket> extends ConnectionContext {
  /** The path of the gateway: a pattern where it has parameters. */
  readonly path: string;
  readonly telemetry: Telemetry;
  readonly rooms: RoomsOfGateway<PeerSocket>;
  /** Hands a message to its handler; the dispatcher calls `connection.finished()` when its place is free again. */
  dispatch(connection: ServerConnection<PeerSocket>, data: Buffer, isBinary: boolean): void;
  /** TCP has ended: the slot is free, the hooks may run. Called once. */
  closed(connection: ServerConnection<PeerSocket>, code: number, reason: Buffer): void;
  /** Assigns the connection to another user; throws a `RangeError`, and changes nothing, where that cannot be. */
  changeUser(connection: ServerConnection<PeerSocket>, principal: unknown, userKey: string | number | undefined): void;
  /** A handler has taken longer than it may. */
  handlerOverdue(connection: ServerConnection<PeerSocket>, now: number): number;
}

/** Who is in which room. */
export interface RoomsOfGateway<PeerSocket> {
  check(room: string): void;
  join(socket: PeerSocket, room: string): void;
  leave(socket: PeerSocket, room: string): void;
  of(socket: PeerSocket): ReadonlySet<string>;
}

/** What is known of a peer when its connection opens. */
export interface Peer {
  readonly ip: string;
  readonly secure: boolean;
  readonly origin: string | undefined;
  readonly rawQuery: string;
  /** As it was asked for. */
  readonly path: string;
  /** Decoded parameters of the path. */
  readonly params: Readonly<Record<string, string>>;
  /** Changes, as its key does, when the session is renewed for somebody else. */
  principal: unknown;
  userKey: string | undefined;
  /** Of the session at first, in milliseconds since the epoch; `undefined`: never. */
  readonly expiresAt: number | undefined;
  readonly address: AddressEntry;
  /** What its guards and hooks have entered; callbacks of the connection run in copies of it. */
  asyncContext: AsyncContext;
  /** What it holds over all processes of a cluster. */
  readonly shared?: SharedSlot | undefined;
  /** Gives the slot back; idempotent. */
  release(): void;
  /** Keeps what is remembered of the address beyond {@link release}, until the answer is called. */
  keepAddress(): () => void;
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
  /** The application has listened to 'message' itself: it speaks a language of its own, which is not judged. */
  isRead = false;
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
  /** Of a connection that has ended. */
  closeCode: number | undefined = undefined;
  /** What Nest wants to be told when it ends. */
  disconnected: Disconnected | Disconnected[] | undefined = undefined;
}

export type Disconnected = (code: number, reason: Buffer) => void;

/** The `handleConnection` hooks of one connection, for as long as not all have settled, and what waits for them. */
interface Hooks {
  left: number;
  /** Until when they must have settled. */
  readonly by: number;
  readonly waiting: (() => void)[];
}

/** A connection to one of our gateways. `PeerSocket`: what the application has of it. */
export class ServerConnection<PeerSocket extends ConnectedSocket = ConnectedSocket> extends Connection {
  declare readonly context: GatewayContext<PeerSocket>;
  declare readonly sink: PeerSocket;
  private dispatched: DispatchState | undefined = undefined;
  private hooks: Hooks | undefined = undefined;

  constructor(
    context: GatewayContext<PeerSocket>,
    transport: Socket,
    sink: PeerSocket,
    readonly peer: Peer,
    agreed: Agreed,
  ) {
    super(context, transport, sink, agreed);
  }

  get socket(): PeerSocket {
    return this.sink;
  }

  get account(): AddressEntry | undefined {
    const { address } = this.peer;
    return address.isExempt ? undefined : address;
  }

  get asyncContext(): AsyncContext {
    return this.peer.asyncContext;
  }

  /** What the dispatcher knows of it. */
  get dispatch(): DispatchState {
    return (this.dispatched ??= new DispatchState());
  }

  protected get stallCause(): string {
    return 'peer does not read';
  }

  /** Listeners have read its messages, and no gateway has a handler for any. */
  get isReadByListenersOnly(): boolean {
    const state = this.dispatched;
    return state?.isRead === true && state.known && (state.handlers === undefined || state.handlers.length === 0);
  }

  report(error: unknown): void {
    this.context.telemetry.fault('socket', error, this.context.path);
  }

  // handleConnection

  /** Every `handleConnection` has settled: messages may be handled. */
  get ready(): boolean {
    return this.hooks === undefined;
  }

  /** Waits for as many `handleConnection` hooks. */
  awaitHooks(count: number): void {
    if (count === 0) return;
    const { clock, limits } = this.context;
    this.hooks = { left: count, by: clock.now() + limits.hookTimeout, waiting: [] };
    this.schedule(this.hooks.by);
  }

  hookSettled(): void {
    if (this.hooks !== undefined && --this.hooks.left === 0) this.becomeReady();
  }

  hookFailed(error: unknown, request?: RequestValues): void {
    this.endForHook(error, request);
    this.hookSettled();
  }

  /** Runs `action` when the hooks have settled; at once where they have. */
  whenReady(action: () => void): void {
    if (this.hooks === undefined) action();
    else this.hooks.waiting.push(action);
  }

  private becomeReady(): void {
    const { hooks } = this;
    this.hooks = undefined;
    for (const action of hooks?.waiting ?? []) {
      try {
        action();
      } catch (error) {
        this.report(error);
      }
    }
    if (this.state === 'closed') this.context.wheel.cancel(this);
    else this.reader?.handOver();
  }

  private endForHook(error: unknown, request?: RequestValues): void {
    this.context.telemetry.fault('handleConnection', error, this.context.path, request);
    // protection: a hook that rejects closes
    this.end(CloseCode.INTERNAL_ERROR, 'internal error');
    // end protection
  }

  private get isOver(): boolean {
    return this.state === 'closed';
  }

  private get hooksBy(): number {
    return this.hooks?.by ?? NEVER;
  }

  // Deadlines, and the end

  override onDue(now: number): number {
    // protection: handleConnection must settle in time
    if (now >= this.hooksBy) {
      this.endForHook(new Error('handleConnection did not settle in time'));
      this.becomeReady();
    }
    // end protection
    if (this.isOver) return this.hooksBy;
    const handlers = this.dispatched?.tasks === undefined ? NEVER : this.context.handlerOverdue(this, now);
    const next = super.onDue(now);
    return this.isOver ? this.hooksBy : Math.min(next, handlers, this.hooksBy);
  }

  override finish(): void {
    if (this.state === 'closed') return;
    super.finish();
    // `handleDisconnect` waits for `handleConnection`, but not for ever.
    this.context.wheel.schedule(this, this.hooksBy);
  }

  /** A message that waits is not handled any more. */
  protected override closing(): void {
    super.closing();
    this.reader?.leave(false);
    this.forget();
  }

  protected override forget(): void {
    this.reader?.drop();
  }

  protected override pauseForOutput(): void {
    this.input.gate.pause(Pause.OUTPUT);
  }
}
