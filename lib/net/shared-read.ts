import { Buffer } from 'node:buffer';
import type { OnReadOpts, Socket } from 'node:net';

/** Maximum number of bytes that Node reads at once. */
const SIZE = 64 * 1024;
let memory: Uint8Array | undefined;

/**
 * The option `onread` of a `net.Socket`: Node reads into memory that all sockets share. Without it Node allocates 64 KiB for each read,
 * and gives back most of it. `'data'` is emitted as usual, with a copy, but nothing is kept for a listener that is added
 * later: the socket must be paused until there is one.
 */
export const sharedRead = (): OnReadOpts => ({ buffer: (memory ??= new Uint8Array(SIZE)), callback: onRead });

function onRead(this: Socket, bytes: number, buffer: Uint8Array): boolean {
  this.emit('data', Buffer.from(buffer.subarray(0, bytes)));
  return true;
}
