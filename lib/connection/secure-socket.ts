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

/** What may change of a session while it lasts. */
export interface Renewal<Principal = unknown> {
  readonly expiresAt?: Date | number | null | undefined;
  readonly principal?: Principal | undefined;
  /** What `maxPerUser` and `disconnectUser` know the user by. */
  readonly userKey?: string | number | undefined;
}

/** The connection of a {@link SecureSocket}. */
export type SecureConnection = ServerConnection<SecureSocket>;

/** A connected peer: a `WebSocket` as of `ws`, with its limits kept and with what the handshake knew of it. */
export class SecureSocket<Principal = unknown> extends ConnectedSocket {
  /** @internal */ readonly connection: SecureConnection;
  /** The upgrade request, where `keepRequest` is set. */
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

  /** Unguessable; the same for as long as the connection lives. */
  get id(): string {
    return (this.uuid ??= randomUUID());
  }

  /** @internal The id, if anybody has asked for it. */
  get knownId(): string | undefined {
    return this.uuid;
  }

  /** The client's address: behind a trusted proxy the one that the proxy saw. */
  get ip(): string {
    return this.connection.peer.ip;
  }

  /** Who it is, as an admission guard said. */
  get principal(): Principal {
    return this.connection.peer.principal as Principal;
  }

  /** The path that was asked for, as it came. */
  get path(): string {
    return this.connection.peer.path;
  }

  /** The path of the gateway: a pattern such as `/rooms/:id` where it has parameters. */
  get route(): string {
    return this.connection.context.path;
  }

  /** Decoded values of the path's parameters, by name, without a prototype: `{ id: '5' }`. A `*name` is the rest. */
  get params(): Readonly<Record<string, string>> {
    return this.connection.peer.params;
  }

  /** The query of the request target; made anew at each call. */
  get query(): URLSearchParams {
    return new URLSearchParams(this.connection.peer.rawQuery);
  }

  /** The `Origin` of the handshake; browsers send one. */
  get origin(): string | undefined {
    return this.connection.peer.origin;
  }

  /** TLS, here or at the nearest trusted proxy. */
  get secure(): boolean {
    return this.connection.peer.secure;
  }

  /** Round trip of the last ping in milliseconds, `undefined` before the first pong. */
  get latency(): number | undefined {
    return this.connection.keepalive.latency;
  }

  /**
   * Enters a room of its gateway; while `handleConnection` runs, as soon as that has settled. At most 100 rooms with
   * names of at most 128 characters: a `RangeError` beyond.
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

  /** In its turn behind what {@link join} still waits for. */
  leave(room: string): void {
    const { connection } = this;
    connection.whenReady(() => connection.context.rooms.leave(this as SecureSocket, room));
  }

  /** The rooms it is in. */
  get rooms(): ReadonlySet<string> {
    return this.connection.context.rooms.of(this as SecureSocket);
  }

  /**
   * The session goes on: it will be closed with 4401 at `expiresAt` (a `Date`, or milliseconds since the epoch; `null`:
   * never; left out: as before), and is from now on `principal`'s. The user's key goes with the principal, as in
   * `allow()`: `userKey`, else the principal if it is a string or a number, else its `id` or `sub`. Throws a
   * `RangeError`, and changes nothing, where one of them is none, and where `maxPerUser` keeps one more connection of
   * another user out. One that too many connections in other processes of a cluster keep out is closed (1008) a moment later.
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

  /** @internal A listener that throws is a fault of the application's, and no end of the process. */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    try {
      return super.emit(event as 'close', ...(args as [number, Buffer]));
    } catch (error) {
      if (event === 'error' && this.listenerCount('error') === 0) return false;
      this.connection.report(error);
      return true;
    }
  }

  // What the connection tells

  /** @internal */ get takes(): boolean {
    return this.connection.ready;
  }

  /** @internal */ get hearsWhenClosing(): boolean {
    return false;
  }

  /** @internal */ heard(data: Buffer, isBinary: boolean): void {
    if (this.listenerCount('message') === 0) return;
    this.connection.dispatch.isRead = true;
    this.tell('message', this.told(data, isBinary), isBinary);
  }

  /** @internal */ take(data: Buffer, isBinary: boolean): void {
    const { connection } = this;
    // The application has read it itself, and Nest has nothing that could.
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
