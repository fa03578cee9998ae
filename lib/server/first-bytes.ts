import type { Socket } from 'node:net';
import type { AddressEntry } from '../admission/address-table.js';
import type { HttpConnection } from '../compat/node-http.js';
import type { HeadHolder } from '../handshake/handshake-budget.js';
import { type HeadVerdict, MORE, ORDINARY } from '../http/head.js';
import { firstLook, type HeadMeter } from '../http/head-meter.js';
import type { ClientAddress } from '../net/address.js';
import type { HandleTransport } from '../net/handle-transport.js';
import { Ring, type RingMember } from '../net/ring.js';
import { SocketTransport } from '../net/socket-transport.js';
import type { Transport, TransportReader } from '../net/transport.js';

/** The decision about a connection on a shared port after its first bytes. */
export interface FirstBytesOwner {
  newMeter(): HeadMeter;
  /** The head asks for a WebSocket. `meter` has read `size` bytes; `rest` arrived with them and is not parsed yet. */
  beginHandshake(
    transport: Transport,
    peer: ClientAddress,
    meter: HeadMeter,
    verdict: HeadVerdict,
    size: number,
    rest: Buffer,
  ): void;
  /** Hands the connection and its bytes over to Node; later bytes are still inspected unless `isOrdinary`. */
  giveToNode(transport: HandleTransport, bytes: Buffer | undefined, isOrdinary: boolean): void;
  peerOf(socket: Socket): ClientAddress;
  /** Acquires the state of the address of a connection whose incomplete head is kept, until it is released. */
  acquire(socket: Socket): AddressEntry;
  release(entry: AddressEntry): void;
  /** Records how many bytes of an incomplete head are kept. */
  hold(holder: HeadHolder, bytes: number): void;
}

const NOTHING = Buffer.alloc(0);
/**
 * Milliseconds of a tick: after one to two ticks without a byte, a connection is handed over to Node. Clients send their
 * first bytes with the last packet of TCP's handshake, or right after it: a client that is a few milliseconds late must
 * not cost a socket.
 */
const TICK = 10;
/**
 * Maximum number of silent connections for which Node creates sockets per tick. Creating a socket takes about 0.1 ms:
 * while hundreds are created at once, the kernel's accept queue overflows, and a client whose SYN is dropped retries
 * only a second later. Connections that wait longer cost less, and most of them have sent their first bytes by then.
 */
export const SOCKETS_PER_TICK = 8;

/**
 * Newly accepted connections for which Node has not created sockets yet. A peer whose first bytes ask for a WebSocket
 * is then refused or admitted at the least cost; all others are handed over to Node's HTTP server within milliseconds,
 * as if they had just been accepted.
 */
export class AcceptedConnections {
  private older = new Ring<AcceptedConnection>();
  private newer = new Ring<AcceptedConnection>();
  private isArmed = false;

  constructor(readonly owner: FirstBytesOwner) {}

  add(transport: HandleTransport, peer: ClientAddress): void {
    const connection = new AcceptedConnection(this, this.newer, transport, peer);
    this.newer.add(connection);
    transport.setReader(connection);
    transport.read();
    this.arm();
  }

  /** Hands all waiting connections over to Node. */
  flush(): void {
    this.give(this.older, Number.POSITIVE_INFINITY);
    this.give(this.newer, Number.POSITIVE_INFINITY);
  }

  private arm(): void {
    if (this.isArmed) return;
    this.isArmed = true;
    // Runs after the next poll for I/O, so that bytes that have already arrived are read first.
    setTimeout(() => setImmediate(this.tick), TICK);
  }

  private readonly tick = (): void => {
    try {
      this.give(this.older, SOCKETS_PER_TICK);
    } finally {
      this.rearm();
    }
  };

  private rearm(): void {
    this.isArmed = false;
    if (this.older.first === undefined) [this.older, this.newer] = [this.newer, this.older];
    if (this.older.first !== undefined) this.arm();
  }

  /** The oldest waiting connections, at most the given number. */
  private give(connections: Ring<AcceptedConnection>, most: number): void {
    for (let left = most; left > 0 && connections.first !== undefined; left--) connections.first.onEnd();
  }
}

/** Parses a chunk until the head is known to be that of an upgrade; the rest of the chunk is then not parsed yet. */
function look(meter: HeadMeter, chunk: Buffer): [HeadVerdict, rest: Buffer] {
  const first = firstLook(chunk);
  const verdict = meter.push(first);
  if (first === chunk) return [verdict, NOTHING];
  const rest = chunk.subarray(first.length);
  return meter.isUpgrade || verdict !== MORE ? [verdict, rest] : [meter.push(rest), NOTHING];
}

class AcceptedConnection implements TransportReader, RingMember<AcceptedConnection> {
  next: AcceptedConnection = this;
  previous: AcceptedConnection = this;

  constructor(
    private readonly accepted: AcceptedConnections,
    /** The ring in which it waits. */
    private readonly ring: Ring<AcceptedConnection>,
    private readonly transport: HandleTransport,
    private readonly peer: ClientAddress,
  ) {}

  onChunk(chunk: Buffer): void {
    const { owner } = this.accepted;
    this.ring.remove(this);
    const meter = owner.newMeter();
    const [verdict, rest] = look(meter, chunk);
    if (meter.isUpgrade)
      owner.beginHandshake(this.transport, this.peer, meter, verdict, chunk.length - rest.length, rest);
    else owner.giveToNode(this.transport, chunk, verdict === ORDINARY);
  }

  onEnd(): void {
    this.ring.remove(this);
    this.accepted.owner.giveToNode(this.transport, undefined, false);
  }

  onClose(): void {
    this.ring.remove(this);
  }
}

/**
 * Reads along on a connection of Node's HTTP server until its first head is known not to ask for a WebSocket. Node's
 * parser gets every byte at once, so its timeouts, limits and errors apply; it gets no more bytes from the chunk on in
 * which the head asks for a WebSocket.
 */
export class HttpTap implements HeadHolder {
  heldBytes = 0;
  /** The head cannot ask for a WebSocket any more. */
  isOrdinary = false;
  private entry: AddressEntry | undefined;
  private readonly meter: HeadMeter;
  private readonly onClose = (): void => this.end();

  constructor(
    private readonly owner: FirstBytesOwner,
    private readonly http: HttpConnection,
    private readonly socket: Socket,
    private readonly taps: Set<HttpTap>,
  ) {
    this.meter = owner.newMeter();
    taps.add(this);
    http.tap((chunk) => this.onChunk(chunk));
    socket.on('close', this.onClose);
  }

  /** For `HandshakeBudget`. */
  get account(): AddressEntry {
    return (this.entry ??= this.owner.acquire(this.socket));
  }

  /** There is no room to keep the head: only Node's parser reads the rest. */
  evict(): void {
    this.giveUp();
  }

  /** Stops reading along. */
  giveUp(): void {
    this.end();
    this.http.untap();
  }

  private onChunk(chunk: Buffer): void {
    const { owner, http, meter, socket } = this;
    const [verdict, rest] = look(meter, chunk);
    if (meter.isUpgrade) {
      this.end();
      http.detach();
      const size = chunk.length - rest.length;
      owner.beginHandshake(new SocketTransport(socket), owner.peerOf(socket), meter, verdict, size, rest);
      return;
    }
    if (verdict === MORE) owner.hold(this, meter.bytes);
    else {
      this.isOrdinary = true;
      this.giveUp();
    }
    http.feed(chunk);
    if (!http.isParsed) this.end();
  }

  private end(): void {
    const { owner, entry, socket, taps } = this;
    if (!taps.delete(this)) return;
    socket.removeListener('close', this.onClose);
    owner.hold(this, 0);
    this.entry = undefined;
    if (entry !== undefined) owner.release(entry);
  }
}
