import { Buffer } from 'node:buffer';

/** Maximum number of bytes of frames that are joined to one write. */
export const LONGEST_RUN = 64 * 1024;

/**
 * Frames that several peers are sent one after the other, joined once for all of them: peers that get the same frames
 * in the same order share the run and its one buffer.
 */
export class FrameRun {
  readonly size: number;
  private following: FrameRun | undefined = undefined;
  private joined: Buffer | undefined = undefined;

  constructor(
    private readonly frame: Buffer,
    private readonly before?: FrameRun,
  ) {
    this.size = frame.length + (before?.size ?? 0);
  }

  /** This run followed by the frame of `next`, a run of one frame; `undefined` if it would be too long. */
  with({ frame }: FrameRun): FrameRun | undefined {
    const { following } = this;
    if (following?.frame === frame) return following;
    if (this.size + frame.length > LONGEST_RUN) return undefined;
    this.following = new FrameRun(frame, this);
    return this.following;
  }

  /** All bytes of the run. */
  bytes(): Buffer {
    if (this.before === undefined) return this.frame;
    this.joined ??= this.join();
    return this.joined;
  }

  private join(): Buffer {
    const bytes = Buffer.allocUnsafeSlow(this.size);
    let end = this.size;
    for (let run: FrameRun | undefined = this; run !== undefined; run = run.before) {
      end -= run.frame.length;
      bytes.set(run.frame, end);
    }
    return bytes;
  }
}
