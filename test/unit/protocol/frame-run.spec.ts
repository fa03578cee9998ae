import { describe, expect, it } from '@jest/globals';
import { FrameRun, LONGEST_RUN } from '../../../lib/protocol/frame-run.js';

const frames = (count: number, size = 3): Buffer[] =>
  Array.from({ length: count }, (_, at) => Buffer.alloc(size, String.fromCharCode(97 + (at % 26))));

/** Runs of one frame each, as shared messages have them. */
const shared = (list: readonly Buffer[]): FrameRun[] => list.map((frame) => new FrameRun(frame));

/** Appends runs as one peer does. */
const joined = (list: readonly FrameRun[]): FrameRun =>
  list.slice(1).reduce((run, frame) => run.with(frame)!, list[0]!);

describe('FrameRun', () => {
  it('is one object and one buffer for all peers that get the same frames in the same order', () => {
    const list = frames(100);
    const runsOfOne = shared(list);
    const runs = Array.from({ length: 50 }, () => joined(runsOfOne));
    expect(new Set(runs).size).toBe(1);
    expect(new Set(runs.map((run) => run.bytes())).size).toBe(1);
    expect(runs[0]!.bytes().equals(Buffer.concat(list))).toBe(true);
    expect(runs[0]!.size).toBe(300);
  });

  it('differs where the frames differ, and never mixes them', () => {
    const [a, b, c] = shared(frames(3)) as [FrameRun, FrameRun, FrameRun];
    const orders = [[a, b], [a, c], [b, a], [a, b, c], [a]];
    // Repeated, because a run caches only the last run that followed it.
    for (let round = 0; round < 3; round++)
      for (const order of orders)
        expect(joined(order).bytes().toString()).toBe(order.map((frame) => frame.bytes()).join(''));
  });

  it('of one frame is that frame, without a copy', () => {
    const [a] = frames(1);
    expect(new FrameRun(a!).bytes()).toBe(a);
  });

  it('ends before it is too long for one write', () => {
    const [half, other] = shared(frames(2, LONGEST_RUN / 2)) as [FrameRun, FrameRun];
    const full = joined([half, other]);
    expect(full.size).toBe(LONGEST_RUN);
    expect(full.with(new FrameRun(frames(1, 1)[0]!))).toBeUndefined();
    expect(full.bytes().length).toBe(LONGEST_RUN);
  });
});
