import { describe, expect, it } from '@jest/globals';
import { FrameRun, LONGEST_RUN } from '../../../lib/protocol/frame-run.js';

const frames = (count: number, size = 3): Buffer[] =>
  Array.from({ length: count }, (_, at) => Buffer.alloc(size, String.fromCharCode(97 + (at % 26))));

/** The frames of messages that are shared: runs of one frame each. */
const shared = (list: readonly Buffer[]): FrameRun[] => list.map((frame) => new FrameRun(frame));

/** The run that a peer has put together. */
const put = (list: readonly FrameRun[]): FrameRun => list.slice(1).reduce((run, frame) => run.with(frame)!, list[0]!);

describe('frames that several peers get one after the other', () => {
  it('are one run and one buffer for all who get the same in the same order', () => {
    const list = frames(100);
    const runsOfOne = shared(list);
    const runs = Array.from({ length: 50 }, () => put(runsOfOne));
    expect(new Set(runs).size).toBe(1);
    expect(new Set(runs.map((run) => run.bytes())).size).toBe(1);
    expect(runs[0]!.bytes().equals(Buffer.concat(list))).toBe(true);
    expect(runs[0]!.size).toBe(300);
  });

  it('are apart from where they differ, and never mixed', () => {
    const [a, b, c] = shared(frames(3)) as [FrameRun, FrameRun, FrameRun];
    const orders = [[a, b], [a, c], [b, a], [a, b, c], [a]];
    // One after the other and at once: what a run leads to is only a memory of the last.
    for (let round = 0; round < 3; round++)
      for (const order of orders)
        expect(put(order).bytes().toString()).toBe(order.map((frame) => frame.bytes()).join(''));
  });

  it('of one frame are that frame, without a copy', () => {
    const [a] = frames(1);
    expect(new FrameRun(a!).bytes()).toBe(a);
  });

  it('end before they are too long to be written at once', () => {
    const [half, other] = shared(frames(2, LONGEST_RUN / 2)) as [FrameRun, FrameRun];
    const full = put([half, other]);
    expect(full.size).toBe(LONGEST_RUN);
    expect(full.with(new FrameRun(frames(1, 1)[0]!))).toBeUndefined();
    expect(full.bytes().length).toBe(LONGEST_RUN);
  });
});
