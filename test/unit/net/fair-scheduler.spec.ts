import { describe, expect, it } from '@jest/globals';
import { FairScheduler } from '../../../lib/net/fair-scheduler.js';
import { turn } from '../../support/time.js';

describe('FairScheduler.writesBroadcast', () => {
  it('allows one write for each connection and turn of the event loop', async () => {
    const scheduler = new FairScheduler();
    const last = scheduler.turn - 1;
    expect(scheduler.writesBroadcast(last)).toBe(true);
    expect(scheduler.writesBroadcast(scheduler.turn)).toBe(false);
    // A read increments `turn`; writes before and after it are still in one turn of the event loop.
    const written = scheduler.turn++;
    expect(scheduler.writesBroadcast(written)).toBe(false);
    expect(scheduler.writesBroadcast(scheduler.turn)).toBe(false);
    await turn();
    expect(scheduler.writesBroadcast(written)).toBe(true);
    await turn();
  });

  it('bounds the writes of one turn', async () => {
    const scheduler = new FairScheduler();
    const count = () => {
      let writes = 0;
      for (let connection = 0; connection < 5000; connection++) writes += Number(scheduler.writesBroadcast(0));
      return writes;
    };
    expect(count()).toBe(512);
    await turn();
    expect(count()).toBe(512);
    await turn();
  });
});
