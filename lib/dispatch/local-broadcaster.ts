import { Buffer } from 'node:buffer';
import { performance } from 'node:perf_hooks';
import type { GatewayType } from '../admission/attempt.js';
import type { UserConnection } from '../admission/shared-slot.js';
import type { SecureConnection as Connection, SecureSocket } from '../connection/secure-socket.js';
import { CloseCode } from '../protocol/close-codes.js';
import { SharedMessage } from '../protocol/deflate/shared-message.js';
import type { Rooms } from './rooms.js';

/** A path and its peers, as the broadcaster needs them. */
export interface Audience {
  readonly server: { readonly clients: ReadonlySet<unknown> };
  readonly rooms: Rooms;
  serves(gateway: GatewayType): boolean;
  /** The name of the class, by which other processes identify the gateway. */
  servesNamed(name: string): boolean;
}

/** All paths and users. */
export interface Audiences {
  readonly endpoints: readonly Audience[];
  readonly connections: Iterable<Connection>;
  /** Upgrades of other libraries have no socket of this library. */
  connectionsOf(userKey: string): readonly UserConnection[];
}

/** The recipients of a message: all peers, or those of a gateway, in a room, of a user. */
export interface Scope {
  readonly gateway?: GatewayType | string;
  readonly room?: string;
  readonly userKey?: string;
}

/** Sends to a set of peers. */
export interface Emitter {
  /** Sends `{ event, data }` to all peers in the scope whose `handleConnection` has settled. */
  emit(event: string, data?: unknown): void;
  /** The same peers without these sockets. */
  except(...sockets: readonly SecureSocket[]): Emitter;
}

/** The peers of this process, or of one of its gateways. */
export interface LocalScope extends Emitter {
  /** Only the members of this room. */
  to(room: string): Emitter;
  /** Only the connections of this user, by the key of the principal. */
  toUser(key: string | number): Emitter;
  /** The members of the room. */
  members(room: string): SecureSocket[];
  /** The number of members of the room. */
  count(room: string): number;
}

/** Deliveries before the event loop continues. Further ones are made in turns of this many milliseconds. */
const BATCH = 500;
const TURN_MS = 2;
/**
 * Maximum bytes of broadcasts that wait for their turn, including their lists of peers. Beyond it, the caller delivers
 * synchronously.
 */
const MOST_WAITING = 4 * 1024 * 1024;
const PER_PEER = 8;

/** A broadcast and the peers that have not received it yet. */
interface Waiting {
  readonly message: SharedMessage;
  readonly peers: readonly SecureSocket[];
  /** Number of peers that have received it. */
  served: number;
  /** Bytes. */
  readonly size: number;
}

/** Sends messages to the peers of this process only. */
export class LocalBroadcaster implements LocalScope {
  private readonly queue: Waiting[] = [];
  private waitingBytes = 0;
  private isScheduled = false;

  /** @hidden */
  constructor(private readonly audiences: Audiences) {}

  emit(event: string, data?: unknown): void {
    this.scope().emit(event, data);
  }

  except(...sockets: readonly SecureSocket[]): Emitter {
    return this.scope().except(...sockets);
  }

  to(room: string): Emitter {
    return this.scope().to(room);
  }

  toUser(key: string | number): Emitter {
    return this.scope().toUser(key);
  }

  members(room: string): SecureSocket[] {
    return this.peers({ room });
  }

  count(room: string): number {
    return this.counted({ room });
  }

  /** The peers of one gateway. */
  of(gateway: GatewayType): LocalScope {
    return this.scope({ gateway });
  }

  /** Whether a user has a connection in this process. */
  isOnline(key: string | number): boolean {
    return this.audiences.connectionsOf(String(key)).length > 0;
  }

  /**
   * Closes the connection with this `socket.id`. Returns the number of closed connections: 1, or 0 if there is none.
   */
  disconnectSocket(id: string, code: number = CloseCode.POLICY_VIOLATION, reason = 'disconnected'): number {
    for (const connection of this.audiences.connections) {
      if (connection.socket.knownId !== id) continue;
      connection.end(code, reason);
      return 1;
    }
    return 0;
  }

  /** Closes all connections of a user, by the key of the principal. Returns the number of closed connections. */
  disconnectUser(key: string | number, code: number = CloseCode.POLICY_VIOLATION, reason = 'disconnected'): number {
    const connections = this.audiences.connectionsOf(String(key));
    for (const connection of connections) connection.end(code, reason);
    return connections.length;
  }

  /** @internal All peers in a scope whose `handleConnection` has settled. */
  peers({ gateway, room, userKey }: Scope, except: readonly SecureSocket[] = []): SecureSocket[] {
    const audiences = this.audiencesOf(gateway);
    const peers: SecureSocket[] = [];
    if (userKey === undefined)
      for (const { server, rooms } of audiences)
        for (const peer of room === undefined ? server.clients : rooms.in(room)) peers.push(peer as SecureSocket);
    else
      for (const connection of this.audiences.connectionsOf(userKey)) {
        const { socket } = connection as Partial<Connection>;
        if (socket !== undefined && audiences.some(({ server }) => server.clients.has(socket))) peers.push(socket);
      }
    return except.length === 0 ? peers : peers.filter((peer) => !except.includes(peer));
  }

  /** @internal */
  counted({ gateway, room }: Scope): number {
    const sizes = this.audiencesOf(gateway).map(({ rooms, server }) =>
      room === undefined ? server.clients.size : rooms.in(room).size,
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  /** @internal Sends a text that is a whole message. */
  send(text: string, peers: readonly SecureSocket[]): void {
    if (peers.length === 0) return;
    const size = text.length + peers.length * PER_PEER;
    this.queue.push({ message: new SharedMessage(Buffer.from(text)), peers, served: 0, size });
    this.waitingBytes += size;
    // Earlier broadcasts are still being delivered: every peer gets broadcasts in order.
    if (!this.isScheduled) this.proceed();
    // protection: broadcasts that wait are bounded
    while (this.waitingBytes > MOST_WAITING) this.serve(Number.POSITIVE_INFINITY);
    // end protection
  }

  private scope(scope: Scope = {}): LocalTarget {
    return new LocalTarget(this, scope, []);
  }

  private audiencesOf(gateway: Scope['gateway']): readonly Audience[] {
    const { endpoints } = this.audiences;
    if (gateway === undefined) return endpoints;
    return endpoints.filter((each) => (typeof gateway === 'string' ? each.servesNamed(gateway) : each.serves(gateway)));
  }

  private proceed(): void {
    this.serve(BATCH);
    this.isScheduled = this.queue.length > 0;
    if (this.isScheduled) setImmediate(this.turn);
  }

  private readonly turn = (): void => {
    const until = performance.now() + TURN_MS;
    while (this.queue.length > 0 && performance.now() < until) this.serve(BATCH);
    this.isScheduled = this.queue.length > 0;
    if (this.isScheduled) setImmediate(this.turn);
  };

  /** Delivers the oldest broadcast to the given number of its remaining peers. */
  private serve(most: number): void {
    const [first] = this.queue;
    if (first === undefined) return;
    const { message, peers } = first;
    const until = Math.min(first.served + most, peers.length);
    while (first.served < until) peers[first.served++]!.sendShared(message);
    if (first.served === peers.length) this.finish(first);
  }

  private finish(broadcast: Waiting): void {
    if (this.queue[0] !== broadcast) return;
    this.queue.shift();
    this.waitingBytes -= broadcast.size;
  }
}

export const messageText = (event: string, data: unknown): string => JSON.stringify({ event, data });

class LocalTarget implements LocalScope {
  constructor(
    private readonly local: LocalBroadcaster,
    private readonly scope: Scope,
    private readonly left: readonly SecureSocket[],
  ) {}

  emit(event: string, data?: unknown): void {
    const peers = this.local.peers(this.scope, this.left);
    if (peers.length > 0) this.local.send(messageText(event, data), peers);
  }

  except(...sockets: readonly SecureSocket[]): Emitter {
    return new LocalTarget(this.local, this.scope, [...this.left, ...sockets]);
  }

  to(room: string): Emitter {
    return new LocalTarget(this.local, { ...this.scope, room }, this.left);
  }

  toUser(key: string | number): Emitter {
    return new LocalTarget(this.local, { ...this.scope, userKey: String(key) }, this.left);
  }

  members(room: string): SecureSocket[] {
    return this.local.peers({ ...this.scope, room });
  }

  count(room: string): number {
    return this.local.counted({ ...this.scope, room });
  }
}
