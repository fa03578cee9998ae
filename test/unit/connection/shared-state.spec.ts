import { describe, expect, it } from '@jest/globals';
import { emptyFifo, pushed, type Waiting } from '../../../lib/connection/fifo.js';
import { Random } from '../../support/random.js';
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

/** A connection whose bytes arrive in pieces, and what must come of them. */
interface Fed {
  readonly bare: Bare;
  readonly texts: readonly string[];
  /** The frames that have not arrived yet, the first one perhaps in part. */
  readonly left: Buffer[];
  /** Number of texts that were sent to the peer. */
  sent: number;
  isOver: boolean;
}

/** Handlers act within handlers so deep. */
const DEEPEST = 4;

/** Texts, some of them in fragments, some with pings between them. */
function conversation(id: string, masked: boolean, random: Random): { texts: string[]; frames: Buffer[] } {
  const texts: string[] = [];
  const frames: Buffer[] = [];
  for (let count = 0; count < 12; count++) {
    const text = `<${id}>${count}${'é'.repeat(random.pick([0, 1, 60, 300]))}`;
    texts.push(text);
    const bytes = Buffer.from(text);
    const cut = random.below(bytes.length);
    if (count % 4 === 0) frames.push(frame(id, { opcode: 9, masked }));
    if (random.once(2)) frames.push(frame(bytes, { masked }));
    else
      frames.push(
        frame(bytes.subarray(0, cut), { fin: false, masked }),
        frame(bytes.subarray(cut), { opcode: 0, masked }),
      );
  }
  return { texts, frames };
}

describe('connections of both roles whose bytes arrive in any pieces and any order', () => {
  async function run(seed: number): Promise<Fed[]> {
    const random = new Random(seed);
    const all: Fed[] = [];
    let depth = 0;
    const feed = (fed: Fed): void => {
      // A read ends within a frame, or with the end of one of the next frames.
      const read = Buffer.concat(fed.left.splice(0, 1 + random.below(3)));
      const end = random.once(2) ? read.length : 1 + random.below(Math.min(read.length, random.pick([1, 4, 40, 2000])));
      if (end < read.length) fed.left.unshift(read.subarray(end));
      // The parser owns the bytes of a read.
      if (end > 0 && !fed.bare.socket.destroyed) arrive(fed.bare, Buffer.from(read.subarray(0, end)));
    };
    /** What a handler does in the middle of a message, to its own connection or to another one. */
    const act = (fed: Fed): void => {
      const { connection } = fed.bare;
      const what = random.pick(['feed', 'feed', 'pause', 'resume', 'send', 'close', 'kill']);
      if (what === 'feed') feed(fed);
      else if (what === 'pause') connection.input.gate.pauseForUser();
      else if (what === 'resume') connection.input.knownGate?.resumeForUser();
      else if (what === 'send') {
        if (!fed.isOver) fed.sent++;
        connection.output.send(`[${all.indexOf(fed)}]`, {}, undefined);
      } else if (random.once(8)) {
        fed.isOver = true;
        if (what === 'kill') connection.kill();
        else connection.close(1000);
      }
    };
    for (let at = 0; at < 8; at++) {
      const role = at % 2 === 0 ? 'server' : 'client';
      const { texts, frames } = conversation(String(at), role === 'server', random);
      const take = (data: Buffer, connection: { finished(size: number): void }): void => {
        if (depth < DEEPEST) {
          depth++;
          act(random.once(2) ? all[at]! : random.pick(all));
          depth--;
        }
        connection.finished(data.length);
      };
      const bare = bareConnection({ role, take, options: { messages: { rate: '1000/1s' } } });
      all.push({ bare, texts, left: frames, sent: 0, isOver: false });
    }
    while (all.some(({ left }) => left.length > 0)) {
      feed(random.pick(all));
      if (random.once(10)) await turn();
    }
    // From here on the handlers do nothing.
    depth = DEEPEST;
    for (const { bare } of all) bare.connection.input.knownGate?.resumeForUser();
    for (let turns = 0; turns < 5; turns++) await turn();
    return all;
  }

  it.each(Array.from({ length: 30 }, (_, seed) => seed))('get each their own messages (seed %d)', async (seed) => {
    const all = await run(seed);
    for (const [at, { bare, texts, sent, isOver }] of all.entries()) {
      expect(bare.messages).toEqual(isOver ? texts.slice(0, bare.messages.length) : texts);
      expect(bare.connection.cause).toBeUndefined();
      if (bare.connection.context.role === 'client') continue;
      const told = Buffer.concat(bare.socket.taken)
        .toString('latin1')
        .match(/\[\d\]/g);
      expect(new Set(told ?? [])).toEqual(new Set(told === null ? [] : [`[${at}]`]));
      if (!isOver) expect(told?.length ?? 0).toBe(sent);
    }
    for (const { bare } of all) bare.socket.destroy();
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
