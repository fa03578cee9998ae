import { describe, expect, it } from '@jest/globals';
import type { SecureWsOptions } from '../../../lib/config/settings.js';
import { frame } from '../../support/raw-client.js';
import { turn } from '../../support/time.js';
import { type BareConnection, bareConnection } from './support.js';

/** The time at which a message is charged: it may be parsed long after its read began, or slowly. */

/** A message in two fragments. */
const fragments = (masked: boolean): Buffer =>
  Buffer.concat([frame('a', { opcode: 1, fin: false, masked }), frame('b', { opcode: 0, masked })]);

/** Turns of the event loop until a condition holds, at most a thousand. */
async function turns(until: () => boolean): Promise<void> {
  for (let left = 1000; left > 0 && !until(); left--) await turn();
}

describe('messages.rate', () => {
  it('does not limit a client that did not set it, however slowly a read is parsed', async () => {
    const { connection, socket, clock, messages } = bareConnection({ role: 'client' });
    clock.step = 7;
    socket.push(Buffer.concat(Array.from({ length: 50 }, () => fragments(false))));
    socket.read();
    await turns(() => messages.length === 50 || connection.cause !== undefined);
    expect(connection.cause).toBeUndefined();
  });

  it('charges all fragments and messages of one read at the same time', async () => {
    const { connection, socket, clock, messages } = bareConnection({ options: { messages: { rate: '1000/10ms' } } });
    clock.step = 7;
    socket.push(Buffer.concat(Array.from({ length: 50 }, () => fragments(true))));
    socket.read();
    await turns(() => messages.length === 50 || connection.cause !== undefined);
    expect(connection.cause).toBeUndefined();
  });

  it('ends a connection that exceeds it', async () => {
    const { connection, socket } = bareConnection({ options: { messages: { rate: '100/1s' } } });
    socket.push(Buffer.concat(Array.from({ length: 101 }, () => frame('m'))));
    socket.read();
    await turn();
    expect(connection.cause).toBe('message rate exceeded');
  });
});

describe('a message parsed after a pause', () => {
  const start = (options: SecureWsOptions) => {
    const running: BareConnection[] = [];
    const bare = bareConnection({ options, take: (_, connection) => void running.push(connection) });
    return { ...bare, running, gate: bare.connection.input.gate };
  };

  it('counts as received when it is parsed: the peer is not idle', async () => {
    const { connection, clock, messages, gate } = start({
      keepalive: { idleTimeout: '1m', pingInterval: null },
      messages: { concurrency: 2 },
    });
    gate.pauseForUser();
    connection.input.read(frame('later still'));
    clock.pass(180_000);
    gate.resumeForUser();
    await turn();
    expect(messages).toEqual(['later still']);
    // Another deadline passes meanwhile.
    connection.schedule(clock.now() + 1_000);
    clock.pass(50_000);
    expect(connection.cause).toBeUndefined();
    clock.pass(20_000);
    expect(connection.cause).toBe('idle');
  });

  it('is charged to the rate at that time', async () => {
    const { connection, clock, messages, gate } = start({ messages: { rate: '2/10s', concurrency: 9, maxQueue: 9 } });
    connection.input.read(Buffer.concat([frame('1'), frame('2')]));
    gate.pauseForUser();
    connection.input.read(frame('3'));
    clock.pass(60_000);
    gate.resumeForUser();
    await turn();
    expect(messages).toEqual(['1', '2', '3']);
    expect(connection.cause).toBeUndefined();
  });

  it('has its full assemblyTimeout and handlerTimeout', async () => {
    const { connection, clock, messages, gate } = start({
      keepalive: { pingInterval: null },
      messages: { assemblyTimeout: '30s', concurrency: 2 },
    });
    gate.pauseForUser();
    connection.input.read(Buffer.concat([frame('whole'), frame('part', { fin: false })]));
    clock.pass(180_000);
    gate.resumeForUser();
    await turn();
    expect(messages).toEqual(['whole']);
    expect(connection.input.turnStart).toBe(clock.time);
    connection.schedule(clock.now() + 1_000);
    clock.pass(25_000);
    expect(connection.cause).toBeUndefined();
    clock.pass(10_000);
    expect(connection.cause).toBe('message took too long');
  });
});
