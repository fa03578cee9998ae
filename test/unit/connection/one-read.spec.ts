import { describe, expect, it } from '@jest/globals';
import { Compression } from '../../../lib/protocol/deflate/compression.js';
import { deflated, frame } from '../../support/raw-client.js';
import { turn } from '../../support/time.js';
import { BROWSER_OFFER, budgetOf, DEFAULTS } from '../protocol/deflate/support.js';
import { bareConnection } from './support.js';

/** The replies to the messages of one read are sent with one write, however the messages were sent. */
describe('the replies to the messages of one read', () => {
  it.each([
    ['plain', frame('x'.repeat(20))],
    // Each message is longer than the read that all of them arrive in.
    ['compressed', frame(deflated('x'.repeat(2000)), { rsv1: true })],
  ])('%s: are sent with one write', async (_, message) => {
    const compression = new Compression(DEFAULTS, budgetOf(64));
    const { socket, messages } = bareConnection({
      deflate: compression.accept(BROWSER_OFFER)!,
      take(data, to) {
        to.output.send('reply', { compress: false }, undefined);
        to.finished(data.length);
      },
    });
    const read = Buffer.concat(Array(16).fill(message) as Buffer[]);
    expect(read.length).toBeLessThan(2000);
    socket.push(read);
    socket.read();
    await turn();
    expect(messages).toHaveLength(16);
    expect(Buffer.concat(socket.taken).toString('latin1').match(/reply/g)).toHaveLength(16);
    expect(socket.calls).toBe(1);
    socket.destroy();
  });
});

/** A slow handler delays only its own reply. */
describe('what is sent while one message of a read is still handled', () => {
  it.each([
    ['a reply before it', [frame('quick'), frame('slow')], 'reply'],
    ['a reply after it', [frame('slow'), frame('quick')], 'reply'],
    ['the answer to a ping after it', [frame('slow'), frame('ping', { opcode: 9 })], 'ping'],
  ])('%s is written in the same turn', async (_, frames, sent) => {
    const { socket, messages } = bareConnection({
      options: { messages: { concurrency: 2 } },
      take(data, to) {
        if (data.toString() === 'slow') return;
        to.output.send('reply', {}, undefined);
        to.finished(data.length);
      },
    });
    socket.push(Buffer.concat(frames));
    socket.read();
    await turn();
    expect(messages).toContain('slow');
    expect(Buffer.concat(socket.taken).toString('latin1')).toContain(sent);
    socket.destroy();
  });
});
