// @ts-nocheck
import { describe, expect, it } from '@jest/globals';
import { type Audience, SecureWsBroadcaster } from '../../../lib/dispatch/broadcaster.js';
import { Rooms } from '../../../lib/dispatch/rooms.js';

const PEERS = 1200;

/** Peers that note what they are sent. */
function crowd() {
  const got: number[] = Array.from({ length: PEERS }, () => 0);
  const peers = got.map((_, at) => ({
    readyState: 1,
    deflate: undefined,
    connection: {
      touch: () => undefined,
      output: {
        senderBytes: 0,
        sendFrame(payload: Buffer) {
          // {"event":"n","data":…}
          const data = Number(payload.toString('latin1', 20, payload.length - 1));
          if (data !== got[at]! + 1) throw new Error(`${data} came behind ${got[at]}`);
          got[at] = data;
        },
      },
    },
  }));
  const audience: Audience = { server: { clients: new Set(peers) }, rooms: new Rooms(), serves: () => true };
  const broadcaster = new SecureWsBroadcaster({ endpoints: [audience], connections: [], connectionsOf: () => [] });
  return { got, broadcaster };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0);

describe('broadcasts to many', () => {
  it('yield to the event loop, and keep their order', async () => {
    const { got, broadcaster } = crowd();
    for (let at = 1; at <= 3; at++) broadcaster.emit('n', at);
    expect(sum(got)).toBe(500);
    while (got.at(-1) !== 3) await turn();
    expect(got).toEqual(Array.from({ length: PEERS }, () => 3));
  });

  it('do not pile up: past some megabytes whoever broadcasts waits for them', async () => {
    const { got, broadcaster } = crowd();
    const COUNT = 700;
    for (let at = 1; at <= COUNT; at++) broadcaster.emit('n', at);
    const mayWait = (4 * 1024 * 1024) / (PEERS * 8);
    expect(Math.min(...got)).toBeGreaterThan(COUNT - mayWait - 1);
    expect(Math.min(...got)).toBeLessThan(COUNT);
    // What waits is sent in turns to come: they must not outlive this test.
    while (got.at(-1) !== COUNT) await turn();
    await turn();
  });
});
