import { describe, expect, it } from '@jest/globals';
import * as ws from 'ws';
import {
  asciiFrame,
  FrameEncoder,
  frameHeader,
  LONGEST_STRING,
  pingFrame,
  plainFrame,
} from '../../../lib/protocol/encoder.js';
import { Opcode } from '../../../lib/protocol/frame.js';
import { parse } from './support.js';

interface FrameOptions {
  readonly fin: boolean;
  readonly rsv1: boolean;
  readonly opcode: number;
  readonly mask: boolean;
  readonly readOnly: boolean;
}
const { Sender } = ws as unknown as { Sender: { frame(data: Buffer, options: FrameOptions): Buffer[] } };

const LENGTHS = [0, 1, 125, 126, 127, 255, 256, 65535, 65536, 70_000];
const payloadOf = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => (i * 31 + 7) & 0xff));

/** A masked frame with its mask removed. */
function unmasked(frame: Buffer): Buffer {
  const length = frame[1]! & 0x7f;
  const start = 2 + (length === 126 ? 2 : length === 127 ? 8 : 0);
  const key = frame.subarray(start, start + 4);
  const payload = Buffer.from(frame.subarray(start + 4)).map((byte, i) => byte ^ key[i & 3]!);
  const header = Buffer.from(frame.subarray(0, start));
  header[1]! &= 0x7f;
  return Buffer.concat([header, payload]);
}

describe('encoded frames', () => {
  const server = new FrameEncoder('server');
  const client = new FrameEncoder('client');

  it('equal those of ws for every length form, opcode and bit', () => {
    for (const length of LENGTHS) {
      const payload = payloadOf(length);
      for (const isBinary of [true, false])
        for (const rsv1 of [true, false]) {
          const options = { fin: true, rsv1, opcode: isBinary ? 2 : 1, mask: false, readOnly: true };
          const expected = Buffer.concat(Sender.frame(payload, options));
          expect(server.frame(server.next(isBinary, true, rsv1), payload).equals(expected)).toBe(true);
          expect(unmasked(client.frame(client.next(isBinary, true, rsv1), payload)).equals(expected)).toBe(true);
          expect(
            Buffer.concat([frameHeader(server.next(isBinary, true, rsv1), length), payload]).equals(expected),
          ).toBe(true);
        }
      expect(payload.equals(payloadOf(length))).toBe(true);
    }
  });

  it('of a client each have a new masking key', () => {
    const keys = Array.from({ length: 100 }, () => client.frame(0x81, Buffer.from('x')).readUInt32BE(2));
    expect(new Set(keys).size).toBe(100);
  });

  it.each([
    '',
    'hello',
    'grüße 🙂',
    'x'.repeat(125),
    'x'.repeat(126),
    'ü'.repeat(100),
    'x'.repeat(LONGEST_STRING),
    'x'.repeat(LONGEST_STRING + 1),
    'y'.repeat(70_000),
  ])('of text are parsed to the same text', (text) => {
    const frame = server.text(text);
    const isPlain = text.length <= LONGEST_STRING && Buffer.byteLength(text) === text.length;
    expect(typeof frame).toBe(isPlain ? 'string' : 'object');
    const bytes = Buffer.from(frame as string, 'latin1');
    expect(parse([bytes], { role: 'client' })).toEqual([['text', text]]);
    expect(bytes.equals(plainFrame(0x81, Buffer.from(text)))).toBe(true);
    if (isPlain) expect(Buffer.from(asciiFrame(text), 'latin1').equals(bytes)).toBe(true);
    expect(parse([client.text(text) as Buffer])).toEqual([['text', text]]);
  });

  it('of a fragmented message start with opcode and RSV1, and continue with continuations in order', () => {
    const encoder = new FrameEncoder('server');
    const firsts = [
      encoder.next(true, false, true),
      encoder.next(true, false, true),
      encoder.next(false, true, false),
      encoder.next(false, true, false),
      encoder.next(false, false),
      encoder.next(false, true),
    ];
    expect(firsts).toEqual([0x42, 0x00, 0x80, 0x81, 0x01, 0x80]);
    expect(encoder.isMidMessage).toBe(false);
    encoder.next(false, false);
    expect(encoder.isMidMessage).toBe(true);
    // A text frame within an open message becomes its last fragment.
    expect(Buffer.from(encoder.text('x') as Buffer)).toEqual(Buffer.from([0x80, 1, 0x78]));
    expect(encoder.isMidMessage).toBe(false);
  });

  it('of a ping carry its number', () => {
    const bytes = Buffer.from(pingFrame(0xfedcba98), 'latin1');
    expect(bytes).toEqual(server.control(Opcode.PING, Buffer.from([0xfe, 0xdc, 0xba, 0x98])));
  });

  it('of control messages refuse more than 125 bytes', () => {
    for (const encoder of [server, client])
      for (const opcode of [Opcode.PING, Opcode.PONG]) {
        expect(encoder.control(opcode, Buffer.alloc(125)).length).toBe(encoder === server ? 127 : 131);
        expect(() => encoder.control(opcode, Buffer.alloc(126))).toThrow(RangeError);
      }
  });

  it('of close are parsed to the same code and reason', () => {
    expect(parse([server.close(1000, 'bye ü')], { role: 'client' })).toEqual([['close', 1000, 'bye ü']]);
    expect(parse([client.close(4401)])).toEqual([['close', 4401, '']]);
    expect(parse([server.close()], { role: 'client' })).toEqual([['close', 1005, '']]);
  });
});
