import type { Socket } from 'node:net';
import type { Connection } from './connection.js';
import { writeJoined } from './joined-write.js';
import { CONNECTION } from './output.js';
import type { SecureSocket } from './secure-socket.js';
import { Receiver, type ReceiverInternals } from './ws-internals.js';

/** In place of the listeners of `ws`, whose work ours do on the way. */
export function shareListeners(socket: SecureSocket, raw: Socket, receiver: ReceiverInternals): void {
  raw.removeListener('data', raw.listeners('data').at(-1) as () => void);
  raw._writev = writeJoined;
  raw.on('data', onData);
  raw.on('end', onEnd);
  raw.on('close', onClose);
  const shared = receiver as ReceiverInternals & { [CONNECTION]?: Connection };
  shared[CONNECTION] = socket.connection;
  for (const event of REPLACED) receiver.removeListener(event, receiver.listeners(event)[0] as () => void);
  receiver.on('message', onMessage);
  receiver.on('ping', onPing);
  receiver.on('pong', onPong);
  receiver.dataMessage = dataMessage;
  receiver.startLoop = startLoop;
  receiver.decompress = decompress;
  receiver.end = end;
}

/** What is read from here on is discarded. */
export const stopListening = (raw: Socket): void => {
  raw.removeListener('data', onData);
};

const REPLACED = ['message', 'ping', 'pong'] as const;

interface Shared {
  readonly [CONNECTION]: Connection;
}

function onData(this: Socket, chunk: Buffer): void {
  (this as unknown as Shared)[CONNECTION].intake.chunk(chunk);
}

/** The peer has half-closed: what is left to say to it must be said in time. */
function onEnd(this: Socket): void {
  (this as unknown as Shared)[CONNECTION].closing();
}

/** `ws` waits for the end of what is being inflated. */
function onClose(this: Socket): void {
  (this as unknown as Shared)[CONNECTION].intake.assembly.inflate();
}

function onMessage(this: Shared, data: Buffer, isBinary: boolean): void {
  const { socket, intake } = this[CONNECTION];
  if (!intake.admit(data.length)) return;
  if (socket.listenerCount('message') > 0) socket.emit('message', data, isBinary);
  intake.take(data, isBinary);
}

function onPing(this: Shared, data: Buffer): void {
  const connection = this[CONNECTION];
  if (!connection.intake.controlFrame()) return;
  connection.output.pong(data);
  connection.socket.emit('ping', data);
}

function onPong(this: Shared, data: Buffer): void {
  const connection = this[CONNECTION];
  if (!connection.keepalive.pong(data) && !connection.intake.controlFrame()) return;
  connection.socket.emit('pong', data);
}

const { dataMessage: receiveFragment, startLoop: parse, decompress: inflate, end: conclude } = Receiver.prototype;

/** `ws` ends it with the peer's FIN and once more with the socket: for that a stream makes an `Error` each time. */
function end(this: ReceiverInternals): void {
  if (!this.writableEnded) conclude.call(this);
}

function decompress(this: ReceiverInternals & Shared, data: Buffer, callback: (error?: Error) => void): void {
  const { isOpen, intake } = this[CONNECTION];
  // What comes after the end is not worth it.
  if (!isOpen) this.dataMessage(callback);
  else if (intake.reading.paused) intake.assembly.postpone(data, callback);
  else inflate.call(this, data, callback);
}

function startLoop(this: ReceiverInternals & Shared, callback: (error?: Error) => void): void {
  parse.call(this, callback);
  this[CONNECTION].intake.parsed();
}

function dataMessage(this: ReceiverInternals & Shared, callback: (error?: Error) => void): void {
  if (!this._fin) this[CONNECTION].intake.fragment();
  receiveFragment.call(this, callback);
}
