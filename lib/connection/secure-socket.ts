import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { catchRejections } from '../compat/listeners.js';
import type { PerMessageDeflate } from '../protocol/deflate/per-message-deflate.js';
import { ConnectedSocket } from './connected-socket.js';
import { type GatewayContext, type Peer, ServerConnection } from './server-connection.js';

interface Open {
  readonly context: GatewayContext<SecureSocket>;
  readonly raw: Socket;
  readonly peer: Peer;
  readonly deflate: PerMessageDeflate | undefined;
  readonly subprotocol: string | undefined;
}

/** The parts of a session that can change while the connection is open. */
export interface Renewal<Principal = unknown> {
  readonly expiresAt?: Date | number | null | undefined;
  readonly principal?: Principal | undefined;
  /** The key by which `maxPerUser` and `disconnectUser` identify the user. */
  readonly userKey?: string | number | undefined;
}

/** The connection of a {@link SecureSocket}. */
export type SecureConnection = ServerConnection<SecureSocket>;

/** A connected peer: a `WebSocket` as in `ws`, within this library's limits, with the results of the handshake. */
export class SecureSocket<Principal = unknown> extends ConnectedSocket {
  /** @internal */ readonly connection: SecureConnection;
  /** The upgrade request, if `keepRequest` is set. */
  request: IncomingMessage | undefined = undefined;
  private uuid: string | undefined = undefined;

  /** @hidden */
  constructor({ context, raw, peer, deflate, subprotocol }: Open) {
    super();
    const { expiresAt } = peer;
    this.connection = new ServerConnection(context, raw, this as SecureSocket, peer, {
      deflate,
      subprotocol,
      expiresAt,
    });
  }

  /** An unguessable id that is constant for the lifetime of the connection. */
  get id(): string {
    return (this.uuid ??= randomUUID());
  }

  /** @internal The id, if it has been read. */
  get knownId(): string | undefined {
    return this.uuid;
  }

  /** The client's address; behind a trusted proxy, the address that the proxy reported. */
  get ip(): string {
    return this.connection.peer.ip;
  }

  /** The principal that an admission guard returned. */
  get principal(): Principal {
    return this.connection.peer.principal as Principal;
  }

  /** The path of the request, as received. */
  get path(): string {
    return this.connection.peer.path;
  }

  /** The path of the gateway; a pattern such as `/rooms/:id` if it has parameters. */
  get route(): string {
    return this.connection.context.path;
  }

  /**
   * Decoded values of the path's parameters by name, without a prototype: `{ id: '5' }`. The value of `*name` is the
   * rest of the path.
   */
  get params(): Readonly<Record<string, string>> {
    return this.connection.peer.params;
  }

  /** The query of the request target, parsed anew at each call. */
  get query(): URLSearchParams {
    return new URLSearchParams(this.connection.peer.rawQuery);
  }

  /** The `Origin` header of the handshake; browsers send one. */
  get origin(): string | undefined {
    return this.connection.peer.origin;
  }

  /** Whether the client uses TLS, to this server or to the nearest trusted proxy. */
  get secure(): boolean {
    return this.connection.peer.secure;
  }

  /** Round-trip time of the last ping in milliseconds; `undefined` before the first pong. */
  get latency(): number | undefined {
    return this.connection.keepalive.latency;
  }

  /**
   * Joins a room of the gateway. While `handleConnection` runs, the room is joined as soon as it has settled. Throws a
   * `RangeError` above 100 rooms, or for a name of more than 128 characters.
   */
  join(room: string): void {
    const { connection } = this;
    const { rooms } = connection.context;
    if (connection.ready && connection.state !== 'closed') rooms.join(this as SecureSocket, room);
    else {
      rooms.check(room);
      connection.whenReady(() => {
        if (connection.state !== 'closed') rooms.join(this as SecureSocket, room);
      });
    }
  }

  /** Leaves a room, in order with pending calls of {@link join}. */
  leave(room: string): void {
    const { connection } = this;
    connection.whenReady(() => connection.context.rooms.leave(this as SecureSocket, room));
  }

  /** The rooms that the connection is in. */
  get rooms(): ReadonlySet<string> {
    return this.connection.context.rooms.of(this as SecureSocket);
  }

  /**
   * Renews the session: it will be closed with 4401 at `expiresAt` (a `Date`, or milliseconds since the epoch; `null`:
   * never; left out: unchanged), and `principal` becomes its principal. The user's key is derived from the principal as
   * in `allow()`: `userKey`, else the principal if it is a string or a number, else its `id` or `sub`.
   *
   * Throws a `RangeError`, without changing anything, for an invalid value, or if `maxPerUser` of another user is
   * reached. If it is reached only over all processes of a cluster, the connection is closed (1008) a moment later.
   */
  renew(session: Renewal<Principal>): void {
    const { expiresAt, principal, userKey } = session;
    const at = expiresAt instanceof Date ? expiresAt.getTime() : expiresAt;
    if (at !== undefined && at !== null && !(Number.isFinite(at) && at >= 1e11))
      throw new RangeError('expiresAt must be a Date or milliseconds since the epoch');
    const { connection } = this;
    if (principal !== undefined || userKey !== undefined) connection.context.changeUser(connection, principal, userKey);
    if (principal !== undefined) connection.peer.principal = principal;
    if (at !== undefined) connection.keepalive.renew(at ?? undefined);
  }

  /**
   * @internal Emits an event. An error that a listener throws is reported as a fault, so that it cannot end the
   * process.
   */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    try {
      return super.emit(event as 'close', ...(args as [number, Buffer]));
    } catch (error) {
      if (event === 'error' && this.listenerCount('error') === 0) return false;
      this.connection.report(error);
      return true;
    }
  }

  // Called by the connection

  /** @internal */ get takes(): boolean {
    return this.connection.ready;
  }

  /** @internal */ get hearsWhenClosing(): boolean {
    return false;
  }

  /** @internal */ heard(data: Buffer, isBinary: boolean): boolean {
    if (this.listenerCount('message') === 0) return false;
    this.connection.dispatch.isRead = true;
    this.tell('message', this.told(data, isBinary), isBinary);
    return true;
  }

  /** @internal */ take(data: Buffer, isBinary: boolean): void {
    const { connection } = this;
    // The application reads messages itself, and no gateway has a handler for them.
    if (connection.isReadByListenersOnly) connection.finished(data.length);
    else connection.context.dispatch(connection, data, isBinary);
  }

  /** @internal */ ended(code: number, reason: Buffer): void {
    const { connection } = this;
    this.tell('close', code, reason);
    connection.context.closed(connection, code, reason);
    connection.peer.release();
  }
}

catchRejections(SecureSocket.prototype, function (error) {
  this.connection.report(error);
});
