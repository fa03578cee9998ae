import { describe, expect, it } from '@jest/globals';
import { emptyFifo, pushed, type Waiting } from '../../../lib/connection/fifo.js';
import { frame } from '../../support/raw-client.js';
import { turn } from '../../support/time.js';
import { type Bare, bareConnection } from './support.js';

/** Connections share the objects that have no state: what one connection does must not reach another. */

/** Bytes arrive for a connection. */
function arrive({ socket }: Bare, bytes: Buffer): void {
  socket.push(bytes);
  socket.read();
}

describe('two connections', () => {
  it('whose messages arrive byte by byte, in turns, get each their own', async () => {
    const all = [bareConnection(), bareConnection(), bareConnection()];
    const bytes = all.map((_, at) =>
      Buffer.concat([frame(`first of ${at}`), frame('', { fin: false }), frame('last', { opcode: 0 })]),
    );
    for (let at = 0; at < bytes[0]!.length; at++)
      for (const [i, each] of all.entries()) arrive(each, bytes[i]!.subarray(at, at + 1));
    await turn();
    for (const [at, each] of all.entries()) expect(each.messages).toEqual([`first of ${at}`, 'last']);
    for (const { socket } of all) socket.destroy();
  });

  it('of which one stops, fails or ends between messages: the other goes on', async () => {
    for (const end of ['fail', 'kill', 'close', 'pause'] as const) {
      const [one, other] = [bareConnection(), bareConnection()];
      arrive(one, frame('before'));
      if (end === 'fail') arrive(one, Buffer.from('ff', 'hex'));
      else if (end === 'kill') one.connection.kill();
      else if (end === 'close') one.connection.close(1000);
      else one.connection.input.gate.pauseForUser();
      arrive(other, frame('hello'));
      // Nothing that still arrives is parsed for the connection that has ended.
      if (end !== 'kill') arrive(one, frame('late'));
      arrive(other, frame('again'));
      await turn();
      expect([end, one.messages, other.messages]).toEqual([end, ['before'], ['hello', 'again']]);
      one.socket.destroy();
      other.socket.destroy();
    }
  });

  it('of which one sends a fragmented message: the other sends whole messages', async () => {
    const [one, other] = [bareConnection(), bareConnection()];
    one.connection.output.send('a', { fin: false }, undefined);
    other.connection.output.send('b', {}, undefined);
    one.connection.output.send('c', { fin: false }, undefined);
    other.connection.output.send('d', {}, undefined);
    one.connection.output.send('e', { fin: true }, undefined);
    one.connection.output.send('f', {}, undefined);
    await turn();
    await turn();
    expect(Buffer.concat(one.socket.taken).toString('latin1')).toBe('\x01\x01a\x00\x01c\x80\x01e\x81\x01f');
    expect(Buffer.concat(other.socket.taken).toString('latin1')).toBe('\x81\x01b\x81\x01d');
    one.socket.destroy();
    other.socket.destroy();
  });
});

it('The empty queue that connections share stays empty', () => {
  const item: Waiting = { size: 1, next: undefined };
  expect(() => emptyFifo().push(item)).toThrow('shared empty queue');
  const queue = pushed(emptyFifo(), item);
  expect([queue.length, emptyFifo().length]).toEqual([1, 0]);
  expect(pushed(queue, { size: 2, next: undefined })).toBe(queue);
  expect([queue.bytes, emptyFifo().bytes, emptyFifo().shift()]).toEqual([3, 0, undefined]);
});
