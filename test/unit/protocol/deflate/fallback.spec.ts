import { expect, it, jest } from '@jest/globals';

const STEP = '../../../../lib/compat/zlib.js';
const real = await import('../../../../lib/compat/zlib.js');
jest.unstable_mockModule(STEP, () => ({
  ...real,
  canStep: () => false,
  step: () => {
    throw new Error('not to be used');
  },
}));
const { BROWSER_OFFER, budgetOf, closeCodeOf, DEFAULTS, deflated, inflated } = await import('./support.js');
const { Compression } = await import('../../../../lib/protocol/deflate/compression.js');

it.each(['shared', 'dedicated'] as const)('%s mode works with only the public calls of zlib', async (mode) => {
  const compression = new Compression({ ...DEFAULTS, mode, maxSize: 300_000 }, budgetOf(64));
  const [sender, receiver] = [compression.accept(BROWSER_OFFER)!, compression.accept(BROWSER_OFFER)!];
  for (const length of [0, 1, 300, 300, 100_000, 300_000, 5]) {
    const data = Buffer.from('a1b2c3'.repeat(length)).subarray(0, length);
    const transport = await deflated(sender, data);
    expect((await inflated(receiver, transport)).equals(data)).toBe(true);
  }
  const bomb = await deflated(compression.accept(BROWSER_OFFER)!, Buffer.alloc(300_001));
  expect(await closeCodeOf(compression.accept(BROWSER_OFFER)!, bomb)).toBe(1009);
  for (const [hex, code] of [
    ['f348cdc9c9070000', 0],
    ['f348cdc9c90700', 1007],
    ['f248cdc9c907', 1007],
    ['ffff', 1007],
  ] as const) {
    const peer = compression.accept(BROWSER_OFFER)!;
    expect([hex, await closeCodeOf(peer, Buffer.from(hex, 'hex'))]).toEqual([hex, code]);
    peer.close();
  }
  sender.close();
  receiver.close();
});
