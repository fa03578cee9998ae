import { Compression, ContextBudget } from '../../protocol/deflate/compression.js';
import type { PerMessageDeflate } from '../../protocol/deflate/per-message-deflate.js';
import type { PoolUser } from '../../protocol/deflate/pool.js';

/** One choice of the settings of `compression`. */
export interface Tuning {
  readonly mode: 'shared' | 'dedicated';
  readonly windowBits: number;
  readonly memLevel: number;
  readonly level: number;
  /** Bytes; shorter messages go plain. */
  readonly threshold: number;
}

/** Compression of one connection, as the measurements see it: ours, or another library's in the benchmarks. */
export interface Codec {
  compress(message: Buffer): Promise<Buffer>;
  decompress(wire: Buffer): Promise<Buffer>;
  close(): void;
}

/** Makes one end of a connection, as often as it is called. */
export type CodecMaker = () => Codec;

const OFFER = [{ name: 'permessage-deflate', params: [['client_max_window_bits', true]] }] as const;
const MAX_SIZE = 64 * 1024 * 1024;

/** Ends of connections with these settings: what the server's code does with each message, and no socket. */
export function codecsOf({ mode, windowBits, memLevel, level, threshold }: Tuning): CodecMaker {
  const settings = { mode, windowBits, memLevel, level, threshold, maxSize: MAX_SIZE };
  const compression = new Compression(settings, new ContextBudget(Number.MAX_SAFE_INTEGER));
  return () => codecFrom(compression.accept(OFFER as never)!);
}

/** One connection's compression as a codec. */
export const codecFrom = (deflate: PerMessageDeflate): Codec => new OurCodec(deflate);

class OurCodec implements Codec {
  /** What the thread pool shares by: each end is a connection with an address of its own. */
  private readonly user: PoolUser = { poolGroup: undefined, runInContext: (callback) => callback() };

  constructor(private readonly deflate: PerMessageDeflate) {}

  compress(message: Buffer): Promise<Buffer> {
    return new Promise((resolve) => {
      const now = this.deflate.compress(message, true, this.user, resolve);
      if (now !== undefined) resolve(now);
    });
  }

  decompress(wire: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const settle = ({ data, error }: { data: Buffer | undefined; error?: { code: number; reason: string } }) =>
        data === undefined
          ? reject(Object.assign(new Error(error?.reason), { closeCode: error?.code }))
          : resolve(data);
      const now = this.deflate.inflate(wire, false, this.user, settle);
      if (now !== undefined) settle(now);
    });
  }

  close(): void {
    this.deflate.close();
  }
}
