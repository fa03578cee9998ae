import type { Socket } from 'node:net';
import type { AddressEntry } from '../admission/address-table.js';
import type { HttpConnection } from '../compat/node-http.js';
import type { HeadHolder } from '../handshake/handshake-budget.js';
import { firstLook, type HeadMeter, type HeadVerdict, MORE, ORDINARY } from '../http/head-meter.js';
import type { ClientAddress } from '../net/address.js';
import type { HandleTransport } from '../net/handle-transport.js';
import { SocketTransport } from '../net/socket-transport.js';
import type { Transport, TransportReader } from '../net/transport.js';

/** What becomes of a connection on a shared port once its first bytes are known. */
export interface FirstBytesOwner {
  newMeter(): HeadMeter;
  /** The head asks for a WebSocket, so far as `meter` has read it: `size` bytes, and not `rest`, which came with them. */
  beginHandshake(
    transport: Transport,
    peer: ClientAddress,
    meter: HeadMeter,
    verdict: HeadVerdict,
    size: number,
    rest: Buffer,
  ): void;
  /** Gives Node the connection and what arrived on it; what follows is of interest unless `isOrdinary`. */
  giveToNode(transport: HandleTransport, bytes: Buffer | undefined, isOrdinary: boolean): void;
  peerOf(socket: Socket): ClientAddress;
  /** What is remembered of the address of a connection whose unfinished head is kept, until it is released. */
  acquire(socket: Socket): AddressEntry;
  release(entry: AddressEntry): void;
  /** Notes the bytes that are kept of an unfinished head. */
  hold(holder: HeadHolder, bytes: number): void;
}

const NOTHING = Buffer.alloc(0);
/** Milliseconds; a peer may take one to two of them before Node is given its connection. */
const TICK = 2;
/**
 * Sockets that Node makes of silent connections in each tick. One takes about 0.1 ms: while hundreds are made at once, the
 * kernel's queue of new connections overflows, and a client whose packet it drops is let in a second later. Until then
 * the others wait at less cost, and most of a crowd have said by then what they are.
 */
export const SOCKETS_PER_TICK = 8;

/**
 * Connections that have just been accepted, before Node has made sockets of them. A peer that asks for a WebSocket in
 * the first bytes it sends is then refused, or let in, at the least cost; everybody else becomes a connection of Node's
 * HTTP server within milliseconds, as if it had been accepted then.
 */
export class AcceptedConnections {
  private older = new Set<AcceptedConnection>();
  private newer = new Set<AcceptedConnection>();
  private isArmed = false;

  constructor(readonly owner: FirstBytesOwner) {}

  add(transport: HandleTransport, peer: ClientAddress): void {
    const connection = new AcceptedConnection(this, transport, peer);
    this.newer.add(connection);
    transport.setReader(connection);
    transport.read();
    this.arm();
  }

  /** @internal */ remove(connection: AcceptedConnection): void {
    this.newer.delete(connection);
    this.older.delete(connection);
  }

  /** Gives Node all that wait. */
  flush(): void {
    this.give(this.older, Number.POSITIVE_INFINITY);
    this.give(this.newer, Number.POSITIVE_INFINITY);
  }

  private arm(): void {
    if (this.isArmed) return;
    this.isArmed = true;
    // Behind the next poll for events, so that bytes that have arrived are read first.
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
    if (this.older.size === 0) [this.older, this.newer] = [this.newer, this.older];
    if (this.older.size > 0) this.arm();
  }

  /** The oldest of them, at most so many. */
  private give(connections: Set<AcceptedConnection>, most: number): void {
    let given = 0;
    for (const connection of connections) {
      if (given++ === most) return;
      connection.onEnd();
    }
  }
}

/** Parses a chunk until its head is known to be an upgrade's; what is left of the chunk then is not parsed yet. */
function look(meter: HeadMeter, chunk: Buffer): [HeadVerdict, rest: Buffer] {
  const first = firstLook(chunk);
  const rest = chunk.subarray(first.length);
  const verdict = meter.push(first);
  if (meter.isUpgrade || verdict !== MORE || rest.length === 0) return [verdict, rest];
  return [meter.push(rest), NOTHING];
}

class AcceptedConnection implements TransportReader {
  constructor(
    private readonly owner: AcceptedConnections,
    private readonly transport: HandleTransport,
    private readonly peer: ClientAddress,
  ) {}

  onChunk(chunk: Buffer): void {
    const { owner } = this.owner;
    this.owner.remove(this);
    const meter = owner.newMeter();
    const [verdict, rest] = look(meter, chunk);
    if (meter.isUpgrade)
      owner.beginHandshake(this.transport, this.peer, meter, verdict, chunk.length - rest.length, rest);
    else owner.giveToNode(this.transport, chunk, verdict === ORDINARY);
  }

  onEnd(): void {
    this.owner.remove(this);
    this.owner.owner.giveToNode(this.transport, undefined, false);
  }

  onClose(): void {
    this.owner.remove(this);
  }
}

/**
 * Reads along on a connection of Node's HTTP server until its first head is known not to ask for a WebSocket. Node's
 * parser gets every byte at once, so its timeouts, limits and errors are its own; only from the chunk on in which the
 * head asks for a WebSocket does it get nothing more.
 */
export class HttpTap implements HeadHolder {
  heldBytes = 0;
  /** The head was read so far that it cannot ask for a WebSocket. */
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

  /** There is no room to keep the head: Node's parser alone reads the rest. */
  evict(): void {
    this.giveUp();
  }

  /** Leaves the connection to Node. */
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
