import { Buffer } from 'node:buffer';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { Readable } from 'node:stream';

/** Maximum number of bytes that Node reads at once. */
const SIZE = 64 * 1024;
let memory: Uint8Array | undefined;

/**
 * `net.connect` for a socket that reads into memory that all such sockets share, with the option `onread`. Otherwise Node
 * allocates 64 KiB for each read, and gives back most of it. In all else the socket is an ordinary stream: it buffers
 * what has no reader yet.
 */
export function connectWithSharedRead(options: NetConnectOpts): Socket {
  const socket = connect({ ...options, onread: { buffer: (memory ??= new Uint8Array(SIZE)), callback: onRead } });
  socket.pause = pause;
  return socket;
}

/** Returns false if the stream has buffered enough: Node then stops reading until the stream asks for more. */
function onRead(this: Socket, bytes: number, buffer: Uint8Array): boolean {
  const chunk = Buffer.from(buffer.subarray(0, bytes));
  if (this.readableFlowing !== true || this.readableLength > 0) return this.push(chunk);
  // `push` would emit it, too, and then ask in a later tick whether to read on: Node reads on by itself.
  this.emit('data', chunk);
  return true;
}

/** With `onread`, Node's own method stops reading at once: a paused socket would not notice that the peer has left. */
function pause(this: Socket): Socket {
  return Readable.prototype.pause.call(this) as Socket;
}
