import { describe, expect, it } from '@jest/globals';
import { copy, frame, parse, parserOf, pieces, plain, Recorder } from './support.js';

const hex = (text: string): string => Buffer.from(text).toString('hex');

describe('messages', () => {
  const MESSAGES: [string, string][] = [
    ['empty', ''],
    ['short', 'hello'],
    ['not ASCII', 'Köln 東京 🦊'],
    ['of 125 bytes', 'x'.repeat(125)],
    ['of 126 bytes', 'x'.repeat(126)],
    ['of 65535 bytes', 'x'.repeat(65535)],
    ['of 65536 bytes', 'x'.repeat(65536)],
  ];

  it.each(MESSAGES)('are read by a server: %s', (_, text) => {
    expect(parse([frame(text)])).toEqual([['text', text]]);
    expect(parse([frame(text, { opcode: 2 })])).toEqual([['binary', hex(text)]]);
  });

  it.each(MESSAGES)('are read by a client: %s', (_, text) => {
    expect(parse([plain(text)], { role: 'client' })).toEqual([['text', text]]);
    expect(parse([plain(text, { opcode: 2 })], { role: 'client' })).toEqual([['binary', hex(text)]]);
  });

  it.each([1, 2, 3, 7])('are the same in pieces of %i bytes', (size) => {
    const all = Buffer.concat([
      frame('one'),
      frame('zwei ü', { fin: false }),
      frame('ping', { opcode: 9 }),
      frame(' drei €', { opcode: 0 }),
      frame('x'.repeat(300), { opcode: 2 }),
      frame(Buffer.from([0x03, 0xe8, 0x62, 0x79, 0x65]), { opcode: 8 }),
    ]);
    expect(parse(pieces(all, size))).toEqual([
      ['text', 'one'],
      ['fragment'],
      ['ping', hex('ping')],
      ['text', 'zwei ü drei €'],
      ['binary', hex('x'.repeat(300))],
      ['close', 1000, 'bye'],
    ]);
  });
});

describe('stop and resume', () => {
  it('leave what is behind a message unread, however often', () => {
    const recorder = new Recorder(() => parser.stop());
    const parser = parserOf(recorder);
    parser.push(copy(Buffer.concat(['a', 'b', 'c'].map((text) => frame(text)))));
    expect(recorder.said).toEqual([['text', 'a']]);
    expect(parser.isStopped).toBe(true);
    parser.push(copy(frame('d')));
    expect(recorder.said).toHaveLength(1);
    for (let i = 0; i < 3; i++) parser.resume();
    expect(recorder.said).toEqual(['a', 'b', 'c', 'd'].map((text) => ['text', text]));
    expect(parser.hasUnread).toBe(false);
  });
});
