// @ts-nocheck
import type { GatewayType } from '../admission/attempt.js';
import type { Connection } from '../connection/connection.js';
import type { SecureSocket } from '../connection/secure-socket.js';
import { CloseCode } from '../protocol/close-codes.js';
import { type Rooms, SharedMessage } from './rooms.js';

/** A path with its peers, as the broadcaster needs it. */
export interface Audience {
  readonly server: { readonly clients: ReadonlySet<unknown> };
  readonly rooms: Rooms;
  serves(gateway: GatewayType): boolean;
}

/** All audiences, and who is connected. */
export interface Audiences {
  readonly endpoints: readonly Audience[];
  readonly connections: Iterable<Connection>;
  connectionsOf(userKey: string): readonly Connection[];
}

/** Peers that are served before the event loop gets its turn. */
const BATCH = 500;
/** Bytes of broadcasts that may wait for their turn, with their lists of peers; beyond it whoever broadcasts waits. */
const MOST_WAITING = 4 * 1024 * 1024;
const PER_PEER = 8;

/** A broadcast, and whom it has not reached yet. */
interface Waiting {
  readonly message: SharedMessage;
  readonly peers: Iterator<SecureSocket>;
  /** Bytes. */
  readonly size: number;
}

/** Whom a message is for. */
export interface BroadcastScope {
  /** Only those in this room. */
  to(room: string): { emit(event: string, data?: unknown): void };
  /** Sends `{ event, data }` to everybody whose `handleConnection` has settled. */
  emit(event: string, data?: unknown): void;
}

/** Speaks to many peers at once, and ends connections by id or user. Inject it: it knows every gateway. */
export class SecureWsBroadcaster implements BroadcastScope {
  private readonly queue: Waiting[] = [];
  private waitingBytes = 0;
  private isScheduled = false;

  /** @hidden */
  constructor(private readonly audiences: Audiences) {}

  emit(event: string, data?: unknown): void {
    this.send(event, data, this.audiences.endpoints, undefined);
  }

  /** Rooms are per gateway; this speaks to the room of that name of each. */
  to(room: string): { emit(event: string, data?: unknown): void } {
    return { emit: (event, data) => this.send(event, data, this.audiences.endpoints, room) };
  }

  /** One gateway only. */
  of(gateway: GatewayType): BroadcastScope {
    const audiences = () => this.audiences.endpoints.filter((audience) => audience.serves(gateway));
    return {
      emit: (event, data) => this.send(event, data, audiences(), undefined),
      to: (room) => ({ emit: (event, data) => this.send(event, data, audiences(), room) }),
    };
  }

  /** Closes the connection with this `socket.id`; false where there is none. */
  disconnectSocket(id: string, code: number = CloseCode.POLICY_VIOLATION, reason = 'disconnected'): boolean {
    for (const connection of this.audiences.connections) {
      if (connection.socket.knownId !== id) continue;
      connection.end(code, reason);
      return true;
    }
    return false;
  }

  /** Closes all connections of a user, by the key of the principal; answers how many. */
  disconnectUser(key: string | number, code: number = CloseCode.POLICY_VIOLATION, reason = 'disconnected'): number {
    const connections = this.audiences.connectionsOf(String(key));
    for (const connection of connections) connection.end(code, reason);
    return connections.length;
  }

  private send(event: string, data: unknown, audiences: readonly Audience[], room: string | undefined): void {
    const peers = audiences.flatMap((audience) => [
      ...(room === undefined ? audience.server.clients : audience.rooms.in(room)),
    ]) as SecureSocket[];
    if (peers.length === 0) return;
    const text = JSON.stringify({ event, data });
    const size = text.length + peers.length * PER_PEER;
    this.queue.push({ message: new SharedMessage(text), peers: peers.values(), size });
    this.waitingBytes += size;
    // Behind one that has yielded: every peer gets broadcasts in their order.
    if (!this.isScheduled) this.proceed();
    while (this.waitingBytes > MOST_WAITING) this.serve(Number.POSITIVE_INFINITY);
  }

  private readonly proceed = (): void => {
    this.serve(BATCH);
    this.isScheduled = this.queue.length > 0;
    if (this.isScheduled) setImmediate(this.proceed);
  };

  /** Hands the oldest broadcast to so many more of its peers. */
  private serve(most: number): void {
    const [first] = this.queue;
    if (first === undefined) return;
    for (let served = 0; served < most; served++) {
      const { value, done } = first.peers.next();
      if (done) return this.finish(first);
      first.message.sendTo(value);
    }
  }

  private finish(broadcast: Waiting): void {
    if (this.queue[0] !== broadcast) return;
    this.queue.shift();
    this.waitingBytes -= broadcast.size;
  }
}
