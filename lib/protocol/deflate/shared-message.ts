import { plainFrame } from '../encoder.js';
import { FIN, Opcode, RSV1 } from '../frame.js';
import { FrameRun } from '../frame-run.js';
import { type PerMessageDeflate, shareCompressed } from './per-message-deflate.js';
import { type DeflateProfile, tuningKey } from './settings.js';

/** A message that a server sends to many peers: framed once, and compressed once for each tuning. */
export class SharedMessage {
  private plain: FrameRun | undefined = undefined;
  private readonly compressed = new Map<number, FrameRun | undefined>();
  /** The profile of the last peer that compresses, and the result for it: most peers have the same profile. */
  private lastProfile: DeflateProfile | undefined = undefined;
  private lastFrame: FrameRun | undefined = undefined;

  constructor(
    readonly payload: Buffer,
    private readonly isBinary = false,
  ) {}

  /**
   * The whole frame for a peer. `undefined` where the payload must be compressed in a context of the peer or in the
   * thread pool: send {@link payload} as an ordinary message then.
   */
  frameFor(deflate: PerMessageDeflate | undefined): FrameRun | undefined {
    if (deflate === undefined) return this.plainFrame();
    if (deflate.profile !== this.lastProfile) {
      this.lastProfile = deflate.profile;
      this.lastFrame = this.frameWith(deflate);
    }
    return this.lastFrame;
  }

  private frameWith(deflate: PerMessageDeflate): FrameRun | undefined {
    if (!deflate.isWorth(this.payload.length)) return this.plainFrame();
    return deflate.isShared ? this.compressedFor(deflate) : undefined;
  }

  private plainFrame(): FrameRun {
    return (this.plain ??= new FrameRun(plainFrame(FIN | this.opcode, this.payload)));
  }

  private compressedFor(deflate: PerMessageDeflate): FrameRun | undefined {
    const key = tuningKey(deflate.profile.outgoing);
    if (!this.compressed.has(key)) {
      const payload = deflate.compressAtOnce(this.payload);
      if (payload === undefined) shareCompressed(this.payload);
      this.compressed.set(key, payload && new FrameRun(plainFrame(FIN | RSV1 | this.opcode, payload)));
    }
    return this.compressed.get(key);
  }

  private get opcode(): Opcode {
    return this.isBinary ? Opcode.BINARY : Opcode.TEXT;
  }
}
