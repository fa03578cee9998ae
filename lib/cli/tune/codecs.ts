import { Compression, ContextBudget } from '../../protocol/deflate/compression.js';
import type { PerMessageDeflate } from '../../protocol/deflate/per-message-deflate.js';
import type { PoolUser } from '../../protocol/deflate/pool.js';

/** A combination of settings of the group `compression`. */
export interface Tuning {
  readonly mode: 'shared' | 'dedicated';
  readonly windowBits: number;
  readonly memLevel: number;
  readonly level: number;
  /** Minimum size in bytes of a message that is compressed. */
  readonly threshold: number;
}

/**
 * The compression of one connection for the measurements: that of this library, or of another one in the benchmarks.
 */
export interface Codec {
  compress(message: Buffer): Promise<Buffer>;
  decompress(wire: Buffer): Promise<Buffer>;
  close(): void;
}

/** Creates one end of a connection. */
export type CodecMaker = () => Codec;

const OFFER = [{ name: 'permessage-deflate', params: [['client_max_window_bits', true]] }] as const;
const MAX_SIZE = 64 * 1024 * 1024;

/** Ends of connections with these settings, which process messages with the server's code, without a socket. */
export function codecsOf({ mode, windowBits, memLevel, level, threshold }: Tuning): CodecMaker {
  const settings = { mode, windowBits, memLevel, level, threshold, maxSize: MAX_SIZE };
  const compression = new Compression(settings, new ContextBudget(Number.MAX_SAFE_INTEGER));
  return () => codecFrom(compression.accept(OFFER as never)!);
}

/** One connection's compression as a codec. */
export const codecFrom = (deflate: PerMessageDeflate): Codec => new OurCodec(deflate);

class OurCodec implements Codec {
  /** The group for sharing the thread pool: each end counts as an address of its own. */
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
