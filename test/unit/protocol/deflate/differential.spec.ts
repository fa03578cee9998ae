import { isUtf8 } from 'node:buffer';
import { describe, expect, it } from '@jest/globals';
import * as ws from 'ws';
import { Compression } from '../../../../lib/protocol/deflate/compression.js';
import type { PerMessageDeflate } from '../../../../lib/protocol/deflate/per-message-deflate.js';
import type { CompressionMode } from '../../../../lib/protocol/deflate/settings.js';
import { FrameEncoder } from '../../../../lib/protocol/encoder.js';
import { FrameParser } from '../../../../lib/protocol/parser.js';
import { Random } from '../../../support/random.js';
import { cuts } from '../sequences.js';
import { copy, LIMITS, Recorder } from '../support.js';
import {
  budgetOf,
  DEFAULTS,
  deflated,
  noiseOf,
  type Offer,
  responseOf,
  resultOf,
  type TheirDeflate,
  textOf,
} from './support.js';

// Compares compressed messages with the zlib use of ws: each side reads what the other sends, and both refuse invalid
// data with the same code, except for the differences listed below.

interface TheirReceiver {
  on(event: string, listener: (first: Buffer, second: boolean) => void): void;
  write(chunk: Buffer, done: (error?: Error | null) => void): void;
}
const { PerMessageDeflate: TheirPerMessageDeflate, Receiver } = ws as unknown as {
  PerMessageDeflate: new (options: object) => TheirDeflate;
  Receiver: new (options: object) => TheirReceiver;
};

const SEED = Number(process.env['SEED'] ?? 1);
const MESSAGES = Number(process.env['MESSAGES'] ?? 300);
const MODES: CompressionMode[] = ['shared', 'dedicated'];

function theirsFor(ours: PerMessageDeflate, maxPayload = 0): TheirDeflate {
  const theirs = new TheirPerMessageDeflate({ isServer: false, maxPayload });
  const [{ params }] = responseOf(ours) as [Offer];
  theirs.accept([Object.fromEntries(params.map(([name, value]) => [name, [value]]))]);
  return theirs;
}

const serverWith = (mode: CompressionMode, random: Random): PerMessageDeflate => {
  const params: [string, string | true][] = [['client_max_window_bits', true]];
  if (random.once(3)) params.push(['server_max_window_bits', `${random.pick([9, 10, 15])}`]);
  const settings = { ...DEFAULTS, mode, windowBits: random.pick([9, 12, 15]), level: random.pick([0, 1, 6, 9]) };
  return new Compression(settings, budgetOf(64)).accept([{ name: 'permessage-deflate', params }])!;
};

const messageFrom = (random: Random): Buffer => {
  const length = random.below(random.once(10) ? 200_000 : 3000);
  return random.once(3) ? noiseOf(length, 1 + random.below(1000)) : textOf(length, 1 + random.below(1000));
};

describe.each(MODES)('compressed messages in %s mode', (mode) => {
  it('sent by ws are read', async () => {
    const random = new Random(SEED);
    for (let run = 0; run < 6; run++) {
      const ours = serverWith(mode, random);
      const theirs = theirsFor(ours);
      const encoder = new FrameEncoder('client');
      const recorder = new Recorder();
      const parser = new FrameParser('server', LIMITS, recorder, true);
      for (let i = 0; i < MESSAGES / 6; i++) {
        const data = messageFrom(random);
        const places = [...new Set(cuts(random, Math.min(data.length, 2900)))].slice(0, 5);
        let from = 0;
        for (const to of [...places, data.length]) {
          const fin = to === data.length && from <= to;
          const part = data.subarray(from, to);
          const payload = await new Promise<Buffer>((resolve) =>
            theirs.compress(part, fin, (_, result) => resolve(result)),
          );
          parser.push(encoder.frame(encoder.next(true, fin, true), payload));
          from = to;
          if (fin) break;
        }
        const [kind, hex] = recorder.events.pop() as [string, string];
        expect(kind).toBe('compressed');
        const result = await resultOf(ours, Buffer.from(hex, 'hex'));
        expect([run, i, result.error, result.data?.equals(data)]).toEqual([run, i, undefined, true]);
      }
      theirs.cleanup();
      ours.close();
    }
  });

  it('are read by ws', async () => {
    const random = new Random(SEED);
    for (let run = 0; run < 6; run++) {
      const ours = serverWith(mode, random);
      const theirs = theirsFor(ours);
      const received: Buffer[] = [];
      const receiver = new Receiver({ isServer: false, extensions: { 'permessage-deflate': theirs } });
      receiver.on('message', (data) => received.push(data));
      const encoder = new FrameEncoder('server');
      for (let i = 0; i < MESSAGES / 6; i++) {
        const data = messageFrom(random);
        const half = random.once(2) ? random.below(data.length + 1) : data.length;
        const frames = [data.subarray(0, half), data.subarray(half)].slice(0, half < data.length ? 2 : 1);
        for (const [at, part] of frames.entries()) {
          const fin = at === frames.length - 1;
          const frame = encoder.frame(encoder.next(true, fin, true), await deflated(ours, part, fin));
          await new Promise<void>((resolve, reject) =>
            receiver.write(copy(frame), (error) => (error ? reject(error) : resolve())),
          );
        }
        expect([run, i, received.pop()?.equals(data)]).toEqual([run, i, true]);
      }
      theirs.cleanup();
      ours.close();
    }
  });

  it('that are invalid are refused as by ws; truncated ones and ones with trailing bytes only by this library', async () => {
    const random = new Random(SEED);
    const strict = { cut: 0, broken: 0, both: 0, neither: 0 };
    for (let i = 0; i < MESSAGES; i++) {
      const ours = serverWith(mode, random);
      const theirs = theirsFor(ours, DEFAULTS.maxSize);
      const data = textOf(1 + random.below(2000), 1 + random.below(1000));
      const whole = copy(
        await new Promise<Buffer>((resolve) => theirs.compress(data, true, (_, result) => resolve(result))),
      );
      const way = random.below(3);
      if (way > 0) whole[random.below(whole.length)]! ^= 1 << random.below(8);
      const bytes = way < 2 ? whole.subarray(0, 1 + random.below(whole.length)) : whole;
      const mine = await resultOf(ours, bytes, true);
      const other = await new Promise<Buffer | undefined>((resolve) =>
        theirs.decompress(copy(bytes), true, (error, result) => resolve(error ? undefined : result)),
      );
      const otherIsMessage = other !== undefined && isUtf8(other);
      // Whatever this library accepts, ws accepts with the same result.
      if (mine.data !== undefined) expect([i, otherIsMessage && other.equals(mine.data)]).toEqual([i, true]);
      else expect([i, mine.error?.code]).toEqual([i, 1007]);
      if (mine.data === undefined && otherIsMessage) strict[bytes.length < whole.length ? 'cut' : 'broken']++;
      else strict[mine.data === undefined ? 'both' : 'neither']++;
      theirs.cleanup();
      ours.close();
    }
    // zlib's Z_SYNC_FLUSH does not report a truncated message (RFC 7692, 7.2.2: the trailer completes a block).
    expect(strict.cut).toBeGreaterThan(MESSAGES / 20);
    expect(strict.both).toBeGreaterThan(MESSAGES / 20);
    expect(strict.neither).toBeGreaterThan(MESSAGES / 50);
    expect(strict.broken).toBeLessThan(MESSAGES / 10);
  });
});
