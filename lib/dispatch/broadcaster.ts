import type { GatewayType } from '../admission/attempt.js';
import type { SecureSocket } from '../connection/secure-socket.js';
import { CloseCode } from '../protocol/close-codes.js';
import { type Audiences, type Emitter, LocalBroadcaster, messageText, type Scope } from './local-broadcaster.js';

/** A member of a room, in any process. */
export interface RoomMember {
  /** `socket.id` */
  readonly id: string;
  readonly userKey: string | undefined;
}

/** The other processes of a cluster. In scopes, gateways are identified by the names of their classes. */
export interface OtherProcesses {
  /** Throws a `RangeError` for a message that is too large. */
  check(text: string): void;
  cast(scope: { gateway?: string; room?: string; userKey?: string }, text: string): void;
  count(scope: { gateway?: string; room?: string }): Promise<number>;
  members(scope: { gateway?: string; room?: string }): Promise<readonly RoomMember[]>;
  isOnline(userKey: string): Promise<boolean>;
  disconnectUser(userKey: string, code: number, reason: string): Promise<number>;
  disconnectSocket(id: string, code: number, reason: string): Promise<number>;
}

/** The peers of all gateways, or of one, in all processes of a cluster. */
export interface BroadcastScope extends Emitter {
  /** Only the members of this room. */
  to(room: string): Emitter;
  /** Only the connections of this user, by the key of the principal. */
  toUser(key: string | number): Emitter;
  /**
   * The members of the room, in this process and in those that answer within `cluster.timeout`; at most 10 000 of each
   * process.
   */
  members(room: string): Promise<RoomMember[]>;
  /** The number of members of the room, in the same processes. */
  count(room: string): Promise<number>;
}

/**
 * Sends messages to many peers, lists them, and closes connections by id or user: those of every gateway, and with
 * `cluster` those of every process. A message is delivered to the peers of this process at once; other processes
 * receive it at most once, in the order in which this process sent it. With a cluster, a message of more than 1 MiB
 * throws a `RangeError`. Injectable.
 * @example
 * broadcaster.to('lobby').except(socket).emit('joined', { name });
 * broadcaster.toUser(user.id).emit('notice', 'hello');
 */
export class SecureWsBroadcaster implements BroadcastScope {
  /** The same methods for this process only, without promises. */
  readonly local: LocalBroadcaster;

  /** @hidden */
  constructor(private readonly audiences: Audiences & { readonly others?: OtherProcesses | undefined }) {
    this.local = new LocalBroadcaster(audiences);
  }

  emit(event: string, data?: unknown): void {
    this.scope({}).emit(event, data);
  }

  /** All peers except these sockets. */
  except(...sockets: readonly SecureSocket[]): Emitter {
    return this.scope({}).except(...sockets);
  }

  /**
   * The members of a room. Rooms are per gateway: without `of()`, this selects the rooms of that name of all gateways.
   */
  to(room: string): Emitter {
    return this.scope({}).to(room);
  }

  toUser(key: string | number): Emitter {
    return this.scope({}).toUser(key);
  }

  members(room: string): Promise<RoomMember[]> {
    return this.scope({}).members(room);
  }

  count(room: string): Promise<number> {
    return this.scope({}).count(room);
  }

  /** The peers of one gateway. Other processes identify the gateway by the name of its class. */
  of(gateway: GatewayType): BroadcastScope {
    return this.scope({ gateway });
  }

  /** Whether a user has a connection in this process, or in one that answers within `cluster.timeout`. */
  async isOnline(key: string | number): Promise<boolean> {
    return this.local.isOnline(key) || ((await this.audiences.others?.isOnline(String(key))) ?? false);
  }

  /**
   * Closes the connection with this `socket.id`, in any process. Returns the number of closed connections: 1, or 0 if
   * there is none.
   */
  disconnectSocket(id: string, code: number = CloseCode.POLICY_VIOLATION, reason = 'disconnected'): Promise<number> {
    const here = this.local.disconnectSocket(id, code, reason);
    const { others } = this.audiences;
    return here > 0 || others === undefined ? Promise.resolve(here) : others.disconnectSocket(id, code, reason);
  }

  /**
   * Closes all connections of a user, by the key of the principal: in this process at once, in others as soon as they
   * receive the request. Returns the number of closed connections in all processes that answered within
   * `cluster.timeout`.
   */
  disconnectUser(
    key: string | number,
    code: number = CloseCode.POLICY_VIOLATION,
    reason = 'disconnected',
  ): Promise<number> {
    const here = this.local.disconnectUser(key, code, reason);
    const { others } = this.audiences;
    if (others === undefined) return Promise.resolve(here);
    return others.disconnectUser(String(key), code, reason).then((elsewhere) => here + elsewhere);
  }

  /** @internal Delivers a broadcast of another process. */
  deliver(scope: Scope, text: string): void {
    this.local.send(text, this.local.peers(scope));
  }

  private scope(scope: Scope): Target {
    return new Target(this.local, () => this.audiences.others, scope, []);
  }
}

class Target implements BroadcastScope {
  constructor(
    private readonly local: LocalBroadcaster,
    private readonly others: () => OtherProcesses | undefined,
    private readonly scope: Scope,
    private readonly left: readonly SecureSocket[],
  ) {}

  emit(event: string, data?: unknown): void {
    const others = this.others();
    const peers = this.local.peers(this.scope, this.left);
    if (peers.length === 0 && others === undefined) return;
    const text = messageText(event, data);
    others?.check(text);
    this.local.send(text, peers);
    others?.cast(named(this.scope), text);
  }

  except(...sockets: readonly SecureSocket[]): Emitter {
    return new Target(this.local, this.others, this.scope, [...this.left, ...sockets]);
  }

  to(room: string): Emitter {
    return this.within({ room });
  }

  toUser(key: string | number): Emitter {
    return this.within({ userKey: String(key) });
  }

  async members(room: string): Promise<RoomMember[]> {
    const scope = { ...this.scope, room };
    const here = this.local
      .peers(scope)
      .map(({ id, connection }) => ({ id, userKey: connection.peer.userKey }) satisfies RoomMember);
    return [...here, ...((await this.others()?.members(named(scope))) ?? [])];
  }

  async count(room: string): Promise<number> {
    const scope = { ...this.scope, room };
    return this.local.counted(scope) + ((await this.others()?.count(named(scope))) ?? 0);
  }

  private within(more: Scope): Emitter {
    return new Target(this.local, this.others, { ...this.scope, ...more }, this.left);
  }
}

/** Converts a scope for messages to other processes. */
const named = ({ gateway, ...scope }: Scope): { gateway?: string; room?: string; userKey?: string } =>
  gateway === undefined ? scope : { ...scope, gateway: typeof gateway === 'string' ? gateway : gateway.name };
