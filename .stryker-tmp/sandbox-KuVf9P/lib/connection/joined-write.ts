// @ts-nocheck
import { Socket } from 'node:net';
import { LONGEST_STRING } from './frame-text.js';

interface Chunk {
  readonly chunk: string | Buffer;
  readonly encoding: string;
}

/**
 * A raw socket's way to write what was held together: frames that are strings leave as one string, which Node writes from
 * the stack; for several it would allocate memory of their size each time.
 */
export function writeJoined(this: Socket, chunks: Chunk[], callback: (error?: Error | null) => void): void {
  const text = joined(chunks);
  if (text === undefined) Socket.prototype._writev!.call(this, chunks as never, callback);
  else this._write(text, 'latin1', callback);
}

function joined(chunks: readonly Chunk[]): string | undefined {
  let text = '';
  for (const { chunk, encoding } of chunks) {
    if (encoding !== 'latin1' || text.length + chunk.length > LONGEST_STRING) return undefined;
    text += chunk as string;
  }
  return text;
}
