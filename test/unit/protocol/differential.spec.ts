import { isUtf8 } from 'node:buffer';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import * as ws from 'ws';
import type { ProtocolError } from '../../../lib/protocol/frame.js';
import { FrameParser, type FrameSink, giveParserBack, takeParser } from '../../../lib/protocol/parser.js';
import { Random } from '../../support/random.js';
import { runs } from '../../support/runs.js';
import { type Event, type ModelOptions, model, OURS, type Outcome, type Policy, WS } from './model.js';
import { cuts, sequence } from './sequences.js';
import { copy, Recorder } from './support.js';

/** Sequences of the long test; a longer run by hand: `SEQUENCES=100000000 npm test -- test/unit/protocol/differential`. */
const SEQUENCES = Number(process.env['SEQUENCES'] ?? runs(1_000_000));
const SEED = Number(process.env['SEED'] ?? 1);

interface TheirReceiver {
  emit(event: string, ...args: unknown[]): boolean;
  end(): void;
  _write(chunk: Buffer, encoding: string, callback: (error?: Error) => void): void;
}
const { Receiver } = ws as unknown as { Receiver: new (options: object) => TheirReceiver };

/** Replaces zlib in `ws`: a compressed message inflates to itself, synchronously. */
const IDENTITY = {
  decompress: (data: Buffer, _fin: boolean, done: (error: null, data: Buffer) => void) => done(null, data),
};

const statusOf = (error: Error): number =>
  (error as unknown as Record<symbol, number>)[Object.getOwnPropertySymbols(error)[0]!]!;

function theirs(chunks: readonly Buffer[], { isServer, maxSize, maxFragments, deflate }: ModelOptions): Outcome {
  const events: Event[] = [];
  let end = '';
  const receiver = new Receiver({
    isServer,
    maxPayload: maxSize,
    maxFragments,
    extensions: deflate ? { 'permessage-deflate': IDENTITY } : {},
  });
  receiver.end = () => {};
  receiver.emit = (event, first, second) => {
    if (event === 'message') events.push({ kind: second ? 'binary' : 'text', data: first as Buffer });
    else if (event === 'ping' || event === 'pong') events.push({ kind: event, data: first as Buffer });
    else if (event === 'conclude') end = `close ${first} ${second}`;
    return true;
  };
  const done = (error?: Error): void => {
    if (error !== undefined && end === '') end = `${statusOf(error)}`;
  };
  for (const chunk of chunks) {
    if (end !== '') break;
    receiver._write(copy(chunk), 'buffer', done);
  }
  return { events, end };
}

class Sink implements FrameSink {
  readonly events: Event[] = [];
  end = '';
  parser: FrameParser | undefined;
  stops = false;

  message(data: Buffer, isBinary: boolean, isCompressed: boolean): void {
    // A connection's reader does the same after inflation.
    if (isCompressed && !isBinary && !isUtf8(data)) {
      this.end = '1007';
      this.parser?.end();
    } else this.note({ kind: isBinary ? 'binary' : 'text', data });
  }
  fragment(): void {}
  ping(data: Buffer): void {
    this.note({ kind: 'ping', data });
  }
  pong(data: Buffer): void {
    this.note({ kind: 'pong', data });
  }
  close(code: number, reason: Buffer): void {
    this.end = `close ${code} ${reason}`;
  }
  error({ code }: ProtocolError): void {
    this.end = `${code}`;
  }

  private note(event: Event): void {
    this.events.push(event);
    if (this.stops) this.parser!.stop();
  }
}

/** With `stops`, the parser is stopped at every message and control frame, and resumed after each chunk. */
function ours(chunks: readonly Buffer[], { isServer, deflate, ...limits }: ModelOptions, stops: boolean): Outcome {
  const sink = new Sink();
  const parser = new FrameParser(isServer ? 'server' : 'client', limits, sink, deflate);
  sink.parser = parser;
  sink.stops = stops;
  for (const chunk of chunks) {
    parser.push(copy(chunk));
    while (parser.isStopped) parser.resume();
  }
  return sink;
}

/** The same with a parser that other connections, of both roles, use whenever it is at rest. */
function oursShared(chunks: readonly Buffer[], { isServer, deflate, ...limits }: ModelOptions): Outcome {
  const sink = new Sink();
  for (const chunk of chunks) {
    sink.parser ??= takeParser(isServer ? 'server' : 'client', limits, sink, deflate);
    sink.parser.push(copy(chunk));
    if (!sink.parser.isAtRest) continue;
    giveParserBack(sink.parser);
    sink.parser = undefined;
    useOtherwise(!isServer, !deflate);
  }
  return sink;
}

/** Another connection receives a message. */
function useOtherwise(isServer: boolean, deflate: boolean): void {
  const recorder = new Recorder();
  const parser = takeParser(isServer ? 'server' : 'client', { maxSize: 2, maxFragments: 1 }, recorder, deflate);
  const whole = isServer ? '8182000000006f6b' : '81026f6b';
  parser.push(Buffer.from(whole, 'hex'));
  expect(recorder.events).toEqual([['text', 'ok']]);
  giveParserBack(parser);
}

function isSame(one: Outcome, other: Outcome): boolean {
  if (one.end !== other.end || one.events.length !== other.events.length) return false;
  for (let i = 0; i < one.events.length; i++) {
    const [a, b] = [one.events[i]!, other.events[i]!];
    if (a.kind !== b.kind || a.data.length !== b.data.length || !a.data.equals(b.data)) return false;
  }
  return true;
}

function chunksOf(bytes: Buffer, places: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let from = 0;
  for (const to of [...places, bytes.length]) {
    chunks.push(bytes.subarray(from, to));
    from = to;
  }
  return chunks;
}

const shown = ({ events, end }: Outcome): object => ({
  end,
  events: events.map(({ kind, data }) => `${kind} ${data.toString('hex')}`),
});

/** Compares each parser with the model, and so both with each other. */
function check(seed: number): { readonly mine: Outcome; readonly expected: Outcome; readonly theirs: Outcome } {
  const random = new Random(seed);
  const options: ModelOptions = {
    isServer: random.once(2),
    maxSize: random.pick([0, 100, 300, 100_000]) || 300,
    maxFragments: random.pick([1, 3, 5, 1024]),
    deflate: random.once(2),
  };
  const bytes = sequence(random, options);
  const chunks = chunksOf(bytes, cuts(random, bytes.length));
  const mine = ours(chunks, options, random.once(4));
  const expected = model(bytes, options, OURS);
  if (!isSame(mine, expected)) differ(seed, bytes, options, mine, expected, 'our parser');
  if (seed % 4 === 0) {
    const shared = oursShared(chunks, options);
    if (!isSame(shared, expected)) differ(seed, bytes, options, shared, expected, 'our parser, shared');
  }
  const wsExpected = model(bytes, options, WS);
  const wsActual = theirs(chunks, options);
  if (!isSame(wsActual, wsExpected)) differ(seed, bytes, options, wsActual, wsExpected, 'the parser of ws');
  return { mine, expected, theirs: wsActual };
}

function differ(seed: number, bytes: Buffer, options: ModelOptions, actual: Outcome, expected: Outcome, who: string) {
  const what = { options, bytes: bytes.toString('hex') };
  expect({ seed, who, ...what, ...shown(actual) }).toEqual({ seed, who, ...what, ...shown(expected) });
}

describe('FrameParser compared with the parser of ws', () => {
  it(`gives the same events and the same end, except for the listed differences, in ${SEQUENCES} sequences`, () => {
    const ends = new Map<string, number>();
    let different = 0;
    let events = 0;
    for (let i = 0; i < SEQUENCES; i++) {
      const { mine, theirs: other } = check(SEED * 1_000_003 + i);
      const key = mine.end.slice(0, 10);
      ends.set(key, (ends.get(key) ?? 0) + 1);
      events += mine.events.length;
      if (mine.end !== other.end) different++;
    }
    // The generated sequences reach every kind of end.
    for (const end of ['', '1002', '1007', '1008', '1009', 'close 1000', 'close 1005', 'close 4999'])
      expect([end, (ends.get(end) ?? 0) > SEQUENCES / 2000]).toEqual([end, true]);
    expect(events).toBeGreaterThan(SEQUENCES);
    expect(different).toBeGreaterThan(SEQUENCES / 1000);
    expect(different).toBeLessThan(SEQUENCES / 5);
  }, 600_000);

  it('gives the same result for any chunking (shrinking on failure)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), fc.array(fc.nat(400), { maxLength: 8 }), (seed, places) => {
        const random = new Random(seed);
        const options: ModelOptions = { isServer: true, maxSize: 300, maxFragments: 5, deflate: true };
        const bytes = sequence(random, options);
        const inside = places.filter((at) => at < bytes.length).sort((a, b) => a - b);
        const whole = ours([bytes], options, false);
        expect(shown(ours(chunksOf(bytes, inside), options, true))).toEqual(shown(whole));
      }),
      { numRuns: runs(2000) },
    );
  });
});

/** One sequence for each difference: our result, that of `ws`, and the deciding section. */
const DIFFERENCES: readonly [keyof Policy, section: string, hex: string, ours: string, ws: string][] = [
  ['firstByteAlone', '5.2', 'f1', '1002', ''],
  ['upperHalfAlone', '5.2, 10.4', '81ff80000000', '1009', ''],
  ['fragmentsByHeader', '10.4', '0180000000000080000000000080000000000080', '1008', ''],
  ['firstWrongByte', '8.1', '018100000000ff', '1007', ''],
  ['firstWrongByte', '8.1', '818200000000ff', '1007', ''],
  ['firstWrongByte', '8.1', '018100000000ff 898000000000 818000000000', '1007', '1002'],
];

describe('a listed difference', () => {
  const options: ModelOptions = { isServer: true, maxSize: 300, maxFragments: 3, deflate: false };

  it.each(DIFFERENCES)('%s (RFC 6455, %s): %s', (policy, _, hex, our, their) => {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    expect([ours([bytes], options, false).end, theirs([bytes], options).end]).toEqual([our, their]);
    // This difference alone explains the other result.
    expect(model(bytes, options, { ...OURS, [policy]: false }).end).toBe(their);
  });

  it('exists for every policy', () => {
    expect([...new Set(DIFFERENCES.map(([policy]) => policy))].sort()).toEqual(Object.keys(OURS).sort());
  });
});
