import { describe, expect, it } from '@jest/globals';
import { frame } from '../../support/raw-client.js';
import { turn } from '../../support/time.js';
import { type BareConnection, bareConnection } from './support.js';

/** Frames that arrived in the same read as the end of the handshake. */

const frames = (count: number, masked = true): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, at) => frame(`${at}`, { masked })));

describe.each(['server', 'client'] as const)('a %s connection that begins with unread frames', (role) => {
  it('resumes reading when the first read filled the queue and there is room again', async () => {
    let waiting: BareConnection | undefined;
    const { connection, socket, messages } = bareConnection({
      role,
      options: { messages: { maxQueue: 4, concurrency: 4 } },
      rest: frames(6, role === 'server'),
      take: (_, each) => {
        waiting = each;
      },
    });
    socket.push(frame('later', { masked: role === 'server' }));
    await turn();
    expect([connection.isPaused, messages.length]).toEqual([true, 4]);
    while (connection.input.running > 0) {
      waiting!.finished(1);
      await turn();
    }
    expect(messages).toEqual(['0', '1', '2', '3', '4', '5', 'later']);
    expect([connection.isPaused, socket.isPaused()]).toEqual([false, false]);
  });

  it('does not read while the application has paused in the first message', async () => {
    const { connection, socket, messages } = bareConnection({
      role,
      rest: frames(1, role === 'server'),
      take: (data, each) => {
        each.input.gate.pauseForUser();
        each.finished(data.length);
      },
    });
    socket.push(frame('later', { masked: role === 'server' }));
    await turn();
    expect(messages).toEqual(['0']);
    connection.input.gate.resumeForUser();
    await turn();
    await turn();
    expect(messages).toEqual(['0', 'later']);
  });
});
