import { constants } from 'node:buffer';
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

  it('with a longer length form than needed are accepted, as by ws', () => {
    for (const hex of ['81fe0001 00000000 61', '81ff0000000000000001 00000000 61'])
      for (const size of [1, 100])
        expect(parse(pieces(Buffer.from(hex.replaceAll(' ', ''), 'hex'), size))).toEqual([['text', 'a']]);
  });

  it.each([1, 2, 3, 7])('are the same in chunks of %i bytes', (size) => {
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

describe('memory held by FrameParser', () => {
  /** What a parser holds after these chunks, and the largest ratio of that to the bytes sent. */
  function held(chunks: readonly Buffer[], limits = {}) {
    const recorder = new Recorder();
    const parser = parserOf(recorder, { limits });
    let sent = 0;
    let worst = 0;
    for (const chunk of chunks) {
      parser.push(copy(chunk));
      sent += chunk.length;
      // The first few bytes always need a buffer.
      if (sent >= 100) worst = Math.max(worst, parser.heldBytes / sent);
    }
    return { parser, recorder, sent, worst, bytes: parser.heldBytes, objects: parser.heldObjects };
  }

  it('is none between messages', () => {
    const { parser, bytes, objects } = held([
      frame('hello'),
      frame('x'.repeat(1000), { opcode: 2 }),
      frame('', { opcode: 9 }),
    ]);
    expect([bytes, objects, parser.isMidMessage, parser.received]).toEqual([0, 0, false, 0]);
  });

  it('is none within a frame header', () => {
    for (const bytes of pieces(frame('x'.repeat(200)).subarray(0, 8)).map((_, i) => i + 1)) {
      const { parser } = held([frame('x'.repeat(200)).subarray(0, bytes)]);
      expect([bytes, parser.heldBytes, parser.isMidMessage]).toEqual([bytes, 0, true]);
    }
  });

  it('is at most twice the bytes received, however small the fragments and reads', () => {
    const first = frame('x', { fin: false });
    const next = frame('x', { fin: false, opcode: 0 });
    const fragments = Buffer.concat([first, ...Array<Buffer>(999).fill(next)]);
    const half = frame(Buffer.alloc(4000)).subarray(0, 2000);
    for (const chunks of [pieces(fragments), [fragments], pieces(half), [half], pieces(half, 999)]) {
      const { worst, objects } = held(chunks);
      expect(worst).toBeLessThanOrEqual(2);
      expect(objects).toBe(1);
    }
  });

  it('is none for a declared length before its payload arrives', () => {
    const { bytes } = held([frame('', { length: 1024 * 1024 })]);
    expect(bytes).toBe(0);
    expect(held([frame('', { length: 1024 * 1024 }), Buffer.from('x')]).bytes).toBeLessThanOrEqual(64);
  });

  it("is the message's size when its frame declares it", () => {
    const { parser, recorder } = held(pieces(frame('x'.repeat(5000)).subarray(0, -1), 100));
    expect(parser.heldBytes).toBe(5000);
    expect(parser.received).toBe(4999);
    parser.push(Buffer.from([0]));
    expect(recorder.events.length).toBe(1);
    expect(parser.heldBytes).toBe(0);
  });

  it('is released at a close frame, an error, and the end', () => {
    const begun = frame('x'.repeat(1000), { fin: false });
    for (const last of [
      frame('', { opcode: 8 }),
      frame('', { opcode: 3 }),
      frame(Buffer.from([0xff]), { opcode: 0 }),
    ]) {
      const { parser, bytes } = held([begun, Buffer.concat([last, frame('never read')])]);
      expect([bytes, parser.hasEnded, parser.isMidMessage]).toEqual([0, true, false]);
    }
    const { parser, recorder } = held([begun]);
    expect(parser.heldBytes).toBeGreaterThanOrEqual(1000);
    parser.end();
    parser.push(frame('never read', { opcode: 0 }));
    expect([parser.heldBytes, parser.heldObjects, recorder.events]).toEqual([0, 0, [['fragment']]]);
  });

  it('is at most one partial control frame', () => {
    const { parser } = held([frame('x'.repeat(100), { opcode: 9 }).subarray(0, 50)]);
    expect([parser.heldBytes, parser.heldObjects]).toEqual([100, 1]);
  });

  it('for an unread rest is the read itself while that is mostly unread, otherwise a copy', () => {
    const messages = Array.from({ length: 1000 }, (_, i) => frame(`message ${i}`));
    const read = copy(Buffer.concat(messages));
    const memory = read.buffer;
    const seen: Buffer[] = [];
    const recorder = new Recorder(() => parser.stop());
    const { message } = recorder;
    recorder.message = (data, ...rest) => {
      seen.push(data);
      message.call(recorder, data, ...rest);
    };
    const parser = parserOf(recorder);
    parser.push(read);
    expect(parser.heldBytes).toBe(read.length);
    let left = read.length - messages[0]!.length;
    while (parser.hasUnread) {
      expect(parser.heldBytes).toBeLessThanOrEqual(2 * left + 512);
      parser.resume();
      left -= messages[seen.length - 1]!.length;
    }
    expect(seen.length).toBe(1000);
    // Half of the messages were parsed in place, and each was copied only a few times.
    expect(seen.slice(0, 450).every(({ buffer }) => buffer === memory)).toBe(true);
    expect(new Set(seen.map(({ buffer }) => buffer)).size).toBeLessThan(12);
    expect(recorder.events.map(([, text]) => text)).toEqual(messages.map((_, i) => `message ${i}`));
  });

  it('while stopped is not one object per received byte', () => {
    const recorder = new Recorder();
    const parser = parserOf(recorder);
    parser.stop();
    const bytes = frame('x'.repeat(10_000));
    for (const piece of pieces(bytes)) parser.push(copy(piece));
    expect(recorder.events).toEqual([]);
    expect(parser.heldObjects).toBeLessThan(5);
    expect(parser.heldBytes).toBeLessThanOrEqual(2 * bytes.length);
    parser.resume();
    expect(recorder.events).toEqual([['text', 'x'.repeat(10_000)]]);
    expect(parser.heldBytes).toBe(0);
  });

  it("for a small read while stopped does not include the read's slab", () => {
    const slab = Buffer.alloc(65_536);
    const small = slab.subarray(100, 100 + frame('hello').copy(slab, 100));
    const recorder = new Recorder();
    const parser = parserOf(recorder);
    parser.stop();
    parser.push(small);
    expect(parser.heldBytes).toBeLessThan(20);
    parser.resume();
    expect(recorder.events).toEqual([['text', 'hello']]);
  });

  it("for a close reason is only the reason's bytes", () => {
    const slab = Buffer.alloc(65_536);
    const length = frame(Buffer.concat([Buffer.from([3, 232]), Buffer.from('bye')]), { opcode: 8 }).copy(slab);
    let reason: Buffer | undefined;
    const recorder = new Recorder();
    recorder.close = (_, bytes) => {
      reason = bytes;
    };
    parserOf(recorder).push(slab.subarray(0, length));
    expect([reason?.toString(), reason?.buffer.byteLength]).toEqual(['bye', 3]);
  });
});

describe('limits', () => {
  const SIZE = { maxSize: 1000, maxFragments: 3 };

  it.each<[string, Buffer, number, number]>([
    ['a length of one byte too many', frame('', { length: 1001 }), 1009, 4],
    ['2^31', frame('', { length: 2 ** 31 }), 1009, 10],
    ['2^53 - 1', frame('', { length: 2n ** 53n - 1n }), 1009, 10],
    ['2^53', frame('', { length: 2n ** 53n }), 1009, 6],
    ['2^63', frame('', { length: 2n ** 63n }), 1009, 6],
    [
      'a sum of fragments',
      Buffer.concat([frame('x'.repeat(600), { fin: false }), frame('', { opcode: 0, length: 401 })]),
      1009,
      612,
    ],
    [
      'four frames, including empty ones',
      Buffer.concat([0, 1, 2, 3].map((i) => frame('', { fin: false, opcode: i === 0 ? 1 : 0 }))),
      1008,
      20,
    ],
    ['a control frame of 126 bytes', frame('x'.repeat(126), { opcode: 9 }), 1002, 2],
    ['a close frame of one byte', frame('x', { opcode: 8 }), 1002, 2],
  ])('are applied at the byte that exceeds them: %s', (_, bytes, code, places) => {
    const recorder = new Recorder();
    const parser = parserOf(recorder, { limits: SIZE });
    let read = 0;
    for (; read < bytes.length && recorder.lastError === undefined; read++)
      parser.push(copy(bytes.subarray(read, read + 1)));
    expect([recorder.lastError?.code, read, parser.heldBytes]).toEqual([code, places, 0]);
  });

  it('accept messages just within them, repeatedly', () => {
    const message = [
      frame('x'.repeat(400), { fin: false }),
      frame('', { fin: false, opcode: 0 }),
      frame('x'.repeat(600), { opcode: 0 }),
    ];
    const events = parse([...message, frame('x'.repeat(1000)), ...message], { limits: SIZE });
    expect(events.filter(([kind]) => kind === 'text').map(([, text]) => (text as string).length)).toEqual([
      1000, 1000, 1000,
    ]);
    expect(events.at(-1)?.[0]).toBe('text');
  });

  it('count compressed bytes on arrival', () => {
    const events = parse([frame('x'.repeat(1001), { rsv1: true })], { limits: SIZE, deflate: true });
    expect(events).toEqual([['error', 1009, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH']]);
  });

  it('without maxSize end at the largest Buffer of Node', () => {
    const events = parse([frame('', { length: 2n ** 53n - 1n })], { limits: { maxSize: Number.POSITIVE_INFINITY } });
    // Since Node 22 a Buffer may be as large as the largest safe integer.
    const isPossible = constants.MAX_LENGTH >= Number.MAX_SAFE_INTEGER;
    expect(events[0]?.slice(0, 2)).toEqual(isPossible ? undefined : ['error', 1009]);
  });
});

describe('text messages', () => {
  it('are handed over whole, ASCII or not', () => {
    const [seen, sent]: string[][] = [[], []];
    for (const role of ['server', 'client'] as const) {
      const recorder = new Recorder();
      const parser = parserOf(recorder, { role });
      recorder.message = (data) => seen!.push(data.toString());
      const masked = role === 'server';
      const long = 'x'.repeat(500);
      for (const [first, second] of [
        ['a', 'b'],
        ['ü', 'b'],
        ['a', 'ü'],
        [long, long],
        [`${long}ü`, long],
      ] as const) {
        parser.push(frame(first, { masked, fin: false }));
        parser.push(frame(second, { masked, opcode: 0 }));
        parser.push(frame(first + second, { masked }));
        sent!.push(first + second, first + second);
      }
    }
    expect(seen).toEqual(sent);
  });

  it.each(['server', 'client'] as const)(
    'are refused by a %s at the first invalid byte, within a frame and across frames',
    (role) => {
      const masked = role === 'server';
      const wrong = Buffer.concat([Buffer.from('κόσμε'), Buffer.from([0xf4, 0x90]), Buffer.alloc(300, 'x')]);
      const bytes = frame(wrong, { masked });
      const header = bytes.length - wrong.length;
      const places = [
        [frame(wrong, { masked })],
        pieces(bytes),
        [frame(wrong.subarray(0, 11), { masked, fin: false }), frame(wrong.subarray(11), { masked, opcode: 0 })],
      ];
      for (const chunks of places)
        expect(parse(chunks, { role }).at(-1)).toEqual(['error', 1007, 'WS_ERR_INVALID_UTF8']);
      const recorder = new Recorder();
      const parser = parserOf(recorder, { role });
      for (let at = 0; at < bytes.length && recorder.lastError === undefined; at++) {
        parser.push(copy(bytes.subarray(at, at + 1)));
        if (recorder.lastError !== undefined) expect(at).toBe(header + Buffer.byteLength('κόσμε') + 1);
      }
      expect(recorder.lastError?.code).toBe(1007);
    },
  );

  it('that end within a character are refused at their last frame', () => {
    const half = Buffer.from('€').subarray(0, 2);
    expect(parse([frame(half)])).toEqual([['error', 1007, 'WS_ERR_INVALID_UTF8']]);
    expect(parse([frame(half, { fin: false }), frame('', { opcode: 0 })]).at(-1)?.[1]).toBe(1007);
    expect(parse([frame(half, { fin: false }), frame(Buffer.from([0xac]), { opcode: 0 })]).at(-1)).toEqual([
      'text',
      '€',
    ]);
    expect(parse([frame(half, { opcode: 2 })])).toEqual([['binary', half.toString('hex')]]);
  });

  it('are not checked for UTF-8 while compressed', () => {
    const events = parse([frame(Buffer.from([0xff, 0xfe]), { rsv1: true })], { deflate: true });
    expect(events).toEqual([['compressed', 'fffe', 'text']]);
  });
});

describe('stop and resume', () => {
  const all = [
    frame('one'),
    frame('ping', { opcode: 9 }),
    frame('tw', { fin: false }),
    frame('pong', { opcode: 10 }),
    frame('o', { opcode: 0 }),
    frame(Buffer.from([0x03, 0xe8]), { opcode: 8 }),
  ];

  it('leave the bytes after a message unread, repeatedly', () => {
    const recorder = new Recorder(() => parser.stop());
    const parser = parserOf(recorder);
    parser.push(copy(Buffer.concat(['a', 'b', 'c'].map((text) => frame(text)))));
    expect(recorder.events).toEqual([['text', 'a']]);
    expect(parser.isStopped).toBe(true);
    parser.push(copy(frame('d')));
    expect(recorder.events).toHaveLength(1);
    for (let i = 0; i < 3; i++) parser.resume();
    expect(recorder.events).toEqual(['a', 'b', 'c', 'd'].map((text) => ['text', text]));
    expect(parser.hasUnread).toBe(false);
  });

  it('at any frame give the same events as without', () => {
    for (const size of [1, 5, 1000]) {
      const recorder = new Recorder(() => parser.stop());
      const parser = parserOf(recorder);
      let resumed = 0;
      for (const piece of pieces(Buffer.concat(all), size)) parser.push(copy(piece));
      for (; parser.isStopped; resumed++) parser.resume();
      expect(recorder.events).toEqual(parse(all));
      expect(resumed).toBe(recorder.events.length);
    }
  });

  it('may be called from within a callback', () => {
    const recorder = new Recorder(() => {
      parser.stop();
      parser.resume();
    });
    const parser = parserOf(recorder);
    parser.push(copy(Buffer.concat(all)));
    expect(recorder.events).toEqual(parse(all));
  });

  it('queue chunks pushed from within a callback after the current one', () => {
    let pushed = false;
    const recorder = new Recorder(() => {
      if (!pushed) parser.push(copy(frame('last')));
      pushed = true;
    });
    const parser = parserOf(recorder);
    parser.push(copy(Buffer.concat([frame('first'), frame('second')])));
    expect(recorder.events.map(([, text]) => text)).toEqual(['first', 'second', 'last']);
  });

  it('continue after a message whose listener threw', () => {
    let left = 1;
    const recorder = new Recorder(() => {
      if (left-- > 0) throw new Error('listener failed');
    });
    const parser = parserOf(recorder);
    expect(() => parser.push(copy(Buffer.concat([frame('a'), frame('b')])))).toThrow('listener failed');
    expect(parser.hasUnread).toBe(true);
    parser.push(copy(frame('c')));
    expect(recorder.events.map(([, text]) => text)).toEqual(['a', 'b', 'c']);
    expect(parser.heldBytes).toBe(0);
  });

  it('have no effect after the connection ended', () => {
    const recorder = new Recorder(() => parser.end());
    const parser = parserOf(recorder);
    parser.push(copy(Buffer.concat(all)));
    parser.resume();
    expect(recorder.events).toEqual([['text', 'one']]);
    expect(parser.heldBytes).toBe(0);
  });
});

describe('discarded messages', () => {
  it('are skipped without being stored or checked, but control frames are reported', () => {
    const recorder = new Recorder();
    const parser = parserOf(recorder);
    parser.push(copy(frame(Buffer.from([0x61, 0xe2]), { fin: false })));
    parser.discardMessages();
    expect([parser.heldBytes, parser.received]).toEqual([0, 0]);
    for (const chunk of [
      ...pieces(frame(Buffer.alloc(500, 0xff), { fin: false, opcode: 0 }), 100),
      frame('ping', { opcode: 9 }),
      frame('end', { opcode: 0 }),
      frame('whole'),
      frame('x'.repeat(900)).subarray(0, 500),
    ]) {
      parser.push(copy(chunk));
      expect(parser.heldBytes).toBe(0);
    }
    expect(recorder.events.map(([kind]) => kind)).toEqual(['fragment', 'fragment', 'ping', 'fragment', 'fragment']);
    expect(parser.isMidMessage).toBe(true);
  });

  it('must still obey the protocol and the limits', () => {
    for (const [bytes, code] of [
      [frame('', { opcode: 0 }), 1002],
      [frame('', { length: 2 ** 21 }), 1009],
      [frame('x', { masked: false }), 1002],
    ] as const) {
      const recorder = new Recorder();
      const parser = parserOf(recorder);
      parser.discardMessages();
      parser.push(copy(bytes));
      expect(recorder.lastError?.code).toBe(code);
    }
  });
});

describe('a parser is at rest', () => {
  it('only between messages, while it neither is stopped nor discards messages', () => {
    const recorder = new Recorder(() => expect(parser.isAtRest).toBe(false));
    const parser = parserOf(recorder, { deflate: true });
    expect(parser.isAtRest).toBe(true);
    const all = Buffer.concat([frame('one', { fin: false }), frame('', { opcode: 9 }), frame('two', { opcode: 0 })]);
    for (let at = 0; at < all.length; at++) {
      parser.push(copy(all.subarray(at, at + 1)));
      expect([at, parser.isAtRest]).toEqual([at, at === all.length - 1]);
    }
    parser.stop();
    expect(parser.isAtRest).toBe(false);
    parser.push(copy(frame('three')));
    expect(parser.isAtRest).toBe(false);
    parser.resume();
    expect(parser.isAtRest).toBe(true);
    parser.push(copy(frame('').subarray(0, 1)));
    expect(parser.isAtRest).toBe(false);
  });

  it.each([
    ['discards messages', (parser: ReturnType<typeof parserOf>) => parser.discardMessages()],
    ['has ended', (parser: ReturnType<typeof parserOf>) => parser.end()],
    ['has read a close frame', (parser: ReturnType<typeof parserOf>) => parser.push(copy(frame('', { opcode: 8 })))],
    ['has failed', (parser: ReturnType<typeof parserOf>) => parser.push(Buffer.from('ff', 'hex'))],
  ])('never again when it %s', (_, end) => {
    const parser = parserOf(new Recorder());
    end(parser);
    parser.push(copy(frame('more')));
    expect(parser.isAtRest).toBe(false);
  });
});
