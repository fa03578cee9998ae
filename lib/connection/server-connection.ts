import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { AddressEntry } from '../admission/address-table.js';
import type { SharedSlot } from '../admission/shared-slot.js';
import type { AsyncContext } from '../net/async-context.js';
import { CloseCode } from '../protocol/close-codes.js';
import type { FaultPlace, Telemetry } from '../telemetry/events.js';
import type { RequestValues } from '../telemetry/redact.js';
import type { ConnectedSocket } from './connected-socket.js';
import { type Agreed, Connection } from './connection.js';
import type { ConnectionContext } from './context.js';
import { Pause } from './read-gate.js';

const NEVER = Number.POSITIVE_INFINITY;

/** The socket of a connection to a gateway, for the application. */
interface ServerSocket extends ConnectedSocket {
  /** The upgrade request, if it is kept. */
  readonly request: IncomingMessage | undefined;
}

/** State that all connections of a gateway share. */
export interface GatewayContext<PeerSocket extends ServerSocket> extends ConnectionContext {
  /** The path of the gateway; a pattern if it has parameters. */
  readonly path: string;
  readonly telemetry: Telemetry;
  readonly rooms: RoomsOfGateway<PeerSocket>;
  /**
   * Hands a message to its handler. The dispatcher calls `connection.finished()` when the place of the message is free
   * again.
   */
  dispatch(connection: ServerConnection<PeerSocket>, data: Buffer, isBinary: boolean): void;
  /** Called once, when TCP has ended: the slot is free, and the hooks may run. */
  closed(connection: ServerConnection<PeerSocket>, code: number, reason: Buffer): void;
  /**
   * Assigns the connection to another user. Throws a `RangeError`, without changing anything, if that is not possible.
   */
  changeUser(connection: ServerConnection<PeerSocket>, principal: unknown, userKey: string | number | undefined): void;
  /** Called when a handler has exceeded its time. */
  handlerOverdue(connection: ServerConnection<PeerSocket>, now: number): number;
}

/** The rooms and their members. */
export interface RoomsOfGateway<PeerSocket> {
  check(room: string): void;
  join(socket: PeerSocket, room: string): void;
  leave(socket: PeerSocket, room: string): void;
  of(socket: PeerSocket): ReadonlySet<string>;
}

/** The facts about a peer when its connection opens. */
export interface Peer {
  readonly ip: string;
  readonly secure: boolean;
  readonly origin: string | undefined;
  readonly rawQuery: string;
  /** The path as it was requested. */
  readonly path: string;
  /** Decoded parameters of the path. */
  readonly params: Readonly<Record<string, string>>;
  /** The principal; it changes, together with its key, when the session is renewed for another user. */
  principal: unknown;
  userKey: string | undefined;
  /** The initial end of the session, in milliseconds since the epoch; `undefined`: never. */
  readonly expiresAt: number | undefined;
  readonly address: AddressEntry;
  /** The async context that guards and hooks have entered; callbacks of the connection run in copies of it. */
  asyncContext: AsyncContext;
  /** The slot over all processes of a cluster. */
  readonly shared?: SharedSlot | undefined;
  /** Frees the slot; idempotent. */
  release(): void;
  /** Keeps the state of the address beyond {@link release}, until the returned function is called. */
  keepAddress(): () => void;
}

/** A message handler as Nest binds it for one connection. */
export type BoundHandler = (data: unknown, event: unknown) => unknown;

/** A running handler. */
export interface RunningTask {
  readonly dueAt: number;
  next: RunningTask | undefined;
}

/** The state of a connection that belongs to the dispatcher. */
export class DispatchState {
  /** The application has its own 'message' listener: messages without a handler do not count as invalid. */
  isRead = false;
  /** Nest was notified of the connection. */
  known = false;
  /** The handlers of all gateways of the path, in order. */
  handlers: readonly BoundHandler[] | undefined = undefined;
  /** Running handlers, newest first. */
  tasks: RunningTask | undefined = undefined;
  /** Observables that have not completed. */
  streams: Set<{ unsubscribe(): void }> | undefined = undefined;
  /** Token buckets of handlers with a rate of their own, by handler. */
  rates: Map<number, number> | undefined = undefined;
  /** The end of a closed connection. */
  closeCode: number | undefined = undefined;
  /** The callbacks of Nest for the end of the connection. */
  disconnected: Disconnected | Disconnected[] | undefined = undefined;
}

export type Disconnected = (code: number, reason: Buffer) => void;

/** The `handleConnection` hooks of one connection while not all have settled, and the actions that wait for them. */
interface Hooks {
  left: number;
  /** The deadline by which they must have settled. */
  readonly by: number;
  readonly waiting: (() => void)[];
}

/** A connection to a gateway of this server. `PeerSocket`: its socket for the application. */
export class ServerConnection<PeerSocket extends ServerSocket = ServerSocket> extends Connection {
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

  /** The dispatcher's state for this connection. */
  get dispatch(): DispatchState {
    return (this.dispatched ??= new DispatchState());
  }

  protected get stallCause(): string {
    return 'peer does not read';
  }

  /** The application reads messages with listeners, and no gateway has a handler. */
  get isReadByListenersOnly(): boolean {
    const state = this.dispatched;
    return state?.isRead === true && state.known && (state.handlers === undefined || state.handlers.length === 0);
  }

  report(error: unknown): void {
    this.fault('socket', error);
  }

  /** Publishes an error of the application's code, which has seen the query, and the headers if the request is kept. */
  fault(where: FaultPlace, error: unknown, request: RequestValues | undefined = this.requestValues): void {
    this.context.telemetry.fault(where, error, this.context.path, request);
  }

  private get requestValues(): RequestValues | undefined {
    const { rawQuery } = this.peer;
    const rawHeaders = this.sink.request?.rawHeaders ?? [];
    return rawQuery === '' && rawHeaders.length === 0 ? undefined : { rawHeaders, rawQuery };
  }

  // handleConnection

  /** Every `handleConnection` has settled: messages may be handled. */
  get ready(): boolean {
    return this.hooks === undefined;
  }

  /** Waits for the given number of `handleConnection` hooks. */
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

  /** Runs `action` when the hooks have settled, or at once if they have. */
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
    this.fault('handleConnection', error, request);
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

  // Deadlines and ending

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
    // `handleDisconnect` waits for `handleConnection`, but only for a limited time.
    this.context.wheel.schedule(this, this.hooksBy);
  }

  /** Discards the messages that wait for a handler. */
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
