import type { Socket } from 'node:net';
import type { ConnectionCore } from './context.js';

/** What a connection does about the events of its transport. */
interface Receiver extends ConnectionCore {
  readonly keepalive: ConnectionCore['keepalive'] & { pongIn(read: Buffer): Buffer | undefined };
  readonly reader: { read(chunk: Buffer): void } | undefined;
  readonly input: { read(chunk: Buffer): void };
  readonly writer: (ConnectionCore['writer'] & { review(now: number): void }) | undefined;
  transportEnded(): void;
  transportClosed(): void;
}

/** Where a transport keeps its connection, so that all listeners can be shared. */
const CONNECTION = Symbol('nest-secure-ws.connection');
type Linked = Socket & { [CONNECTION]?: Receiver | undefined };

/** The connection is not told of the transport any more. */
export const unlink = (transport: Socket): void => {
  (transport as Linked)[CONNECTION] = undefined;
};

/** Hears of a transport through functions that all connections share. */
export function listen(connection: Receiver): void {
  const { transport } = connection;
  (transport as Linked)[CONNECTION] = connection;
  // What an agent of the client's gives may be less than a socket.
  if (transport.timeout) transport.setTimeout(0);
  transport.setNoDelay?.();
  transport.on('close', onClose);
  transport.on('data', onFirstData);
  transport.on('end', onEnd);
  transport.on('error', onError);
}

/** What is read from here on is discarded. */
export function stopReading({ transport }: Receiver): void {
  transport.removeListener('data', onFirstData);
  transport.removeListener('data', onData);
  transport.resume();
}

/** Makes what receives, apart from what runs for every read: V8 would compile the making into that, again and again. */
export function startReading(connection: Receiver, chunk: Buffer): void {
  const { transport } = connection;
  transport.removeListener('data', onFirstData);
  transport.on('data', onData);
  connection.input.read(chunk);
}

/** Idle peers only send pongs: no reader is allocated for them. */
function onFirstData(this: Linked, chunk: Buffer): void {
  const connection = this[CONNECTION];
  if (connection === undefined) return;
  const pong = connection.context.role === 'server' ? connection.keepalive.pongIn(chunk) : undefined;
  if (pong !== undefined) connection.sink.ponged(pong);
  else startReading(connection, chunk);
}

function onData(this: Linked, chunk: Buffer): void {
  this[CONNECTION]?.reader?.read(chunk);
}

export function onDrain(this: Linked): void {
  const connection = this[CONNECTION];
  connection?.writer?.review(connection.context.clock.now());
}

function onEnd(this: Linked): void {
  this[CONNECTION]?.transportEnded();
}

function onError(this: Linked): void {
  this.destroy();
}

function onClose(this: Linked): void {
  this[CONNECTION]?.transportClosed();
}
