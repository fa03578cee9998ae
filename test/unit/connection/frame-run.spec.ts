import { describe, expect, it } from '@jest/globals';
import { FrameRun, LONGEST_RUN } from '../../../lib/connection/frame-run.js';

const frames = (count: number, size = 3): Buffer[] =>
  Array.from({ length: count }, (_, at) => Buffer.alloc(size, String.fromCharCode(97 + (at % 26))));

/** The run that a peer has put together. */
const put = (list: readonly Buffer[]): FrameRun =>
  list.slice(1).reduce((run, frame) => run.with(frame)!, FrameRun.of(list[0]!));

describe('frames that several peers get one after the other', () => {
  it('are one run and one buffer for all who get the same in the same order', () => {
    const list = frames(100);
    const runs = Array.from({ length: 50 }, () => put(list));
    expect(new Set(runs).size).toBe(1);
    expect(new Set(runs.map((run) => run.bytes())).size).toBe(1);
    expect(runs[0]!.bytes().equals(Buffer.concat(list))).toBe(true);
    expect(runs[0]!.size).toBe(300);
  });

  it('are apart from where they differ, and never mixed', () => {
    const [a, b, c] = frames(3) as [Buffer, Buffer, Buffer];
    const orders = [[a, b], [a, c], [b, a], [a, b, c], [a]];
    // One after the other and at once: what a run leads to is only a memory of the last.
    for (let round = 0; round < 3; round++)
      for (const order of orders) expect(put(order).bytes().toString()).toBe(Buffer.concat(order).toString());
  });

  it('of one frame are that frame, without a copy', () => {
    const [a] = frames(1);
    expect(FrameRun.of(a!).bytes()).toBe(a);
  });

  it('end before they are too long to be written at once', () => {
    const [half, other] = frames(2, LONGEST_RUN / 2) as [Buffer, Buffer];
    const full = put([half, other]);
    expect(full.size).toBe(LONGEST_RUN);
    expect(full.with(frames(1, 1)[0]!)).toBeUndefined();
    expect(full.bytes().length).toBe(LONGEST_RUN);
  });

  it('keep no frame alive that nobody sends any more', () => {
    // A run begins at its first frame, which is held weakly.
    expect(FrameRun.of(Buffer.from('a'))).not.toBe(FrameRun.of(Buffer.from('a')));
  });
});
