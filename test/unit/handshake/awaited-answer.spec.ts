import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { expect, it } from '@jest/globals';
import { TimerWheel } from '../../../lib/net/timer-wheel.js';
import { AwaitedAnswer } from '../../../lib/server/foreign-endpoint.js';

class Upgraded extends EventEmitter {
  destroyed = false;
  bytesWritten = 7;
}

function started() {
  const clock = { time: 0, now: () => clock.time, every: () => () => undefined };
  const wheel = new TimerWheel(clock, 100);
  const socket = new Upgraded();
  let none = 0;
  new AwaitedAnswer(socket as unknown as Socket, wheel, 1000, () => none++);
  return {
    socket,
    wheel,
    none: () => none,
    /** Lets time pass in steps, the event loop free. */
    pass(milliseconds: number) {
      for (const end = clock.time + milliseconds; clock.time < end; ) {
        clock.time += 100;
        wheel.advance();
      }
    },
    block(milliseconds: number) {
      clock.time += milliseconds;
      wheel.advance();
    },
  };
}

it('AwaitedAnswer reports an unanswered upgrade once, after its time', () => {
  const upgrade = started();
  upgrade.pass(900);
  expect(upgrade.none()).toBe(0);
  upgrade.pass(200);
  expect(upgrade.none()).toBe(1);
  upgrade.pass(5000);
  expect([upgrade.none(), upgrade.wheel.size]).toEqual([1, 0]);
});

it('AwaitedAnswer stops waiting after an answer, an end or a close', () => {
  for (const end of ['answer', 'destroy', 'close']) {
    const upgrade = started();
    upgrade.pass(500);
    if (end === 'answer') upgrade.socket.bytesWritten++;
    else if (end === 'destroy') upgrade.socket.destroyed = true;
    else upgrade.socket.emit('close');
    if (end === 'close') expect(upgrade.wheel.size).toBe(0);
    upgrade.pass(5000);
    expect([end, upgrade.none(), upgrade.wheel.size]).toEqual([end, 0, 0]);
  }
});

it('AwaitedAnswer extends its time while the event loop is blocked', () => {
  const upgrade = started();
  upgrade.block(10_000);
  upgrade.pass(800);
  expect(upgrade.none()).toBe(0);
  upgrade.pass(300);
  expect(upgrade.none()).toBe(1);
});
