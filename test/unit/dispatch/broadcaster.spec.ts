import { describe, expect, it } from '@jest/globals';
import { SecureWsBroadcaster } from '../../../lib/dispatch/broadcaster.js';
import type { Audience } from '../../../lib/dispatch/local-broadcaster.js';
import { Rooms } from '../../../lib/dispatch/rooms.js';
import { turn } from '../../support/time.js';

const PEERS = 1200;

/** Peers that record what they are sent. */
function crowd() {
  const got: number[] = Array.from({ length: PEERS }, () => 0);
  const peers = got.map((_, at) => ({
    sendShared({ payload }: { readonly payload: Buffer }) {
      // {"event":"n","data":…}
      const data = Number(payload.toString('latin1', 20, payload.length - 1));
      if (data !== got[at]! + 1) throw new Error(`${data} was sent after ${got[at]}`);
      got[at] = data;
    },
  }));
  const audience: Audience = {
    server: { clients: new Set(peers) },
    rooms: new Rooms(),
    serves: () => true,
    servesNamed: () => true,
  };
  const broadcaster = new SecureWsBroadcaster({ endpoints: [audience], connections: [], connectionsOf: () => [] });
  return { got, broadcaster };
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0);

describe('SecureWsBroadcaster.emit', () => {
  it('yields to the event loop, and keeps the order', async () => {
    const { got, broadcaster } = crowd();
    for (let at = 1; at <= 3; at++) broadcaster.emit('n', at);
    expect(sum(got)).toBe(500);
    while (got.at(-1) !== 3) await turn();
    expect(got).toEqual(Array.from({ length: PEERS }, () => 3));
  });

  it('writes synchronously once some megabytes wait, so that broadcasts do not accumulate', async () => {
    const { got, broadcaster } = crowd();
    const COUNT = 700;
    for (let at = 1; at <= COUNT; at++) broadcaster.emit('n', at);
    const mayWait = (4 * 1024 * 1024) / (PEERS * 8);
    expect(Math.min(...got)).toBeGreaterThan(COUNT - mayWait - 1);
    expect(Math.min(...got)).toBeLessThan(COUNT);
    // The rest is sent in later turns, which must end before the test does.
    while (got.at(-1) !== COUNT) await turn();
    await turn();
  });
});
