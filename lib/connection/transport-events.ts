import type { Socket } from 'node:net';
import type { ConnectionCore } from './context.js';

/** The reactions of a connection to events of its transport. */
interface Receiver extends ConnectionCore {
  readonly keepalive: ConnectionCore['keepalive'] & { pongIn(read: Buffer): Buffer | undefined };
  readonly reader: { read(chunk: Buffer): void } | undefined;
  readonly input: { read(chunk: Buffer): void };
  readonly writer: (ConnectionCore['writer'] & { review(now: number): void }) | undefined;
  transportEnded(): void;
  transportClosed(): void;
}

/** The property of a transport that refers to its connection, so that all connections can share their listeners. */
const CONNECTION = Symbol('nest-secure-ws.connection');
type Linked = Socket & { [CONNECTION]?: Receiver | undefined };

/** Removes the connection's listeners from the transport. */
export const unlink = (transport: Socket): void => {
  (transport as Linked)[CONNECTION] = undefined;
};

/** Adds listeners, which all connections share, to a transport. */
export function listen(connection: Receiver): void {
  const { transport } = connection;
  (transport as Linked)[CONNECTION] = connection;
  // A client's agent may return an object that does not have all methods of a socket.
  if (transport.timeout) transport.setTimeout(0);
  transport.setNoDelay?.();
  transport.on('close', onClose);
  transport.on('data', onFirstData);
  transport.on('end', onEnd);
  transport.on('error', onError);
}

/**
 * Creates the reader in a function of its own: otherwise V8 would optimise that code again and again in the function
 * that runs for every read.
 */
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
