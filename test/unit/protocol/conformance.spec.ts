import { describe, expect, it } from '@jest/globals';
import { Compression } from '../../../lib/protocol/deflate/compression.js';
import type { PerMessageDeflate } from '../../../lib/protocol/deflate/per-message-deflate.js';
import type { CompressionSettings } from '../../../lib/protocol/deflate/settings.js';
import { FrameEncoder } from '../../../lib/protocol/encoder.js';
import { Opcode, type Role } from '../../../lib/protocol/frame.js';
import { budgetOf, DEFAULTS, deflated, inflated, type Offer, responseOf, textOf } from './deflate/support.js';
import { frame, type ParserEvent, parse, pieces } from './support.js';

// The groups 1–7, 9, 10, 12 and 13 of the Autobahn test suite, as bytes and values. The strict behaviour is expected.
// Every case runs in both roles, whole, byte by byte, and cut as the suite cuts it.

type FrameArguments = Parameters<typeof frame>;
const f = (payload: string | Buffer, options: FrameArguments[1] = {}): FrameArguments => [payload, options];

const ROLES: Role[] = ['server', 'client'];
const CUTS = [1, 3, 997, Number.MAX_SAFE_INTEGER];

/** The parser events of these frames without fragments, checked to be the same in both roles and for all cuts. */
function eventsOf(frames: readonly FrameArguments[], limits = {}): ParserEvent[] {
  const answers = ROLES.flatMap((role) => {
    const bytes = Buffer.concat(
      frames.map(([payload, options]) => frame(payload, { ...options, masked: role === 'server' })),
    );
    return CUTS.filter((size) => bytes.length / size < 20_000).map((size) =>
      parse(pieces(bytes, size), { role, limits: { maxSize: 16 * 1024 * 1024, ...limits } }),
    );
  }).map((all) => all.filter(([kind]) => kind !== 'fragment'));
  for (const answer of answers) expect(answer).toEqual(answers[0]);
  return answers[0]!;
}

const hex = (data: string | Buffer): string => Buffer.from(data as string).toString('hex');
const kinds = (frames: readonly FrameArguments[]): unknown[] =>
  eventsOf(frames).map(([kind, code]) => (kind === 'error' ? code : kind));

describe('1 framing', () => {
  it.each([0, 125, 126, 127, 128, 65535, 65536])('1.1, 1.2: text and binary of %i bytes', (length) => {
    expect(eventsOf([f('*'.repeat(length))])).toEqual([['text', '*'.repeat(length)]]);
    const binary = Buffer.alloc(length, 0xfe);
    expect(eventsOf([f(binary, { opcode: 2 })])).toEqual([['binary', hex(binary)]]);
  });
});

describe('2 pings and pongs', () => {
  it.each([
    ['2.1', ''],
    ['2.2', 'Hello, world!'],
    ['2.3', Buffer.from([0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff])],
    ['2.4, 2.6', Buffer.alloc(125, 0xfe)],
  ])('%s: reports a ping with its payload', (_, payload) => {
    expect(eventsOf([f(payload, { opcode: 9 })])).toEqual([['ping', hex(payload)]]);
  });

  it('2.5: refuses a ping of 126 bytes', () => {
    expect(kinds([f(Buffer.alloc(126, 0xfe), { opcode: 9 }), f('x')])).toEqual([1002]);
  });

  it('2.7–2.9: accepts unsolicited pongs', () => {
    const frames = [f('', { opcode: 10 }), f('unsolicited', { opcode: 10 }), f('ping', { opcode: 9 })];
    expect(eventsOf(frames)).toEqual([
      ['pong', ''],
      ['pong', hex('unsolicited')],
      ['ping', hex('ping')],
    ]);
  });

  it('2.10, 2.11: reports ten pings in order', () => {
    const payloads = Array.from({ length: 10 }, (_, i) => `payload-${i}`);
    expect(eventsOf(payloads.map((payload) => f(payload, { opcode: 9 })))).toEqual(
      payloads.map((payload) => ['ping', hex(payload)]),
    );
  });
});

/** A frame with this first byte. */
const odd = (first: number, payload = ''): Buffer => {
  const bytes = frame(payload);
  bytes[0] = first;
  return bytes;
};

describe('3, 4 reserved bits and opcodes', () => {
  const BAD = [
    ...[1, 2, 3, 4, 5, 6, 7].map((rsv): [string, number] => [`3: RSV ${rsv}`, 0x81 | (rsv << 4)]),
    ...[3, 4, 5, 6, 7].map((opcode): [string, number] => [`4.1: opcode ${opcode}`, 0x80 | opcode]),
    ...[11, 12, 13, 14, 15].map((opcode): [string, number] => [`4.2: opcode ${opcode}`, 0x80 | opcode]),
    ...[8, 9, 10].map((opcode): [string, number] => [`3: RSV1 of a control frame ${opcode}`, 0xc0 | opcode]),
  ];

  it.each(BAD)('%s is 1002 after the messages before it, and nothing after it is read', (_, first) => {
    for (const payload of ['', 'reserved'])
      for (const size of CUTS) {
        const bytes = Buffer.concat([frame('before'), odd(first, payload), frame('', { opcode: 9 })]);
        const answer = parse(pieces(bytes, size));
        expect(answer.map(([kind, code]) => (kind === 'error' ? code : kind))).toEqual(['text', 1002]);
      }
  });

  it('3: RSV1 in a continuation or control frame is 1002 with permessage-deflate too', () => {
    const begun = frame('x', { fin: false, rsv1: true });
    for (const first of [0xc0, 0xc9, 0xca, 0xc8]) {
      expect(parse([begun, odd(first)], { deflate: true }).at(-1)).toEqual(['error', 1002, 'WS_ERR_UNEXPECTED_RSV_1']);
    }
  });

  it('5.1: an unmasked frame to a server and a masked frame to a client are 1002', () => {
    expect(parse([frame('x', { masked: false })])).toEqual([['error', 1002, 'WS_ERR_EXPECTED_MASK']]);
    expect(parse([frame('x')], { role: 'client' })).toEqual([['error', 1002, 'WS_ERR_UNEXPECTED_MASK']]);
  });
});

describe('5 fragmentation', () => {
  const [A, B, C] = ['fragment1', 'fragment2', 'fragment3'];
  const ping = f('ping', { opcode: 9 });
  const first = f(A, { fin: false });
  const more = f(B, { fin: false, opcode: 0 });
  const last = f(B, { opcode: 0 });

  it.each<[string, FrameArguments[], unknown[]]>([
    ['5.1: a ping in two fragments', [f('fragment1', { opcode: 9, fin: false }), last], [1002]],
    ['5.2: a pong in two fragments', [f('fragment1', { opcode: 10, fin: false }), last], [1002]],
    ['5.3–5.5: a text in two fragments', [first, last], ['text']],
    ['5.6–5.8: a ping between two fragments', [first, ping, last], ['ping', 'text']],
    ['5.9–5.11: a continuation without a message, final', [f(A, { opcode: 0 }), f('x')], [1002]],
    ['5.12–5.14: a continuation without a message, not final', [f(A, { opcode: 0, fin: false }), f('x')], [1002]],
    [
      '5.15: a text, then a continuation without a message',
      [first, last, f(A, { fin: false, opcode: 0 }), f('x')],
      ['text', 1002],
    ],
    ['5.16, 5.17: repeated continuations without a message', [f(A, { fin: false, opcode: 0 }), first, last], [1002]],
    ['5.18: a text frame within a fragmented text', [first, f(B)], [1002]],
    ['5.18: a binary frame within a fragmented text', [first, f(B, { opcode: 2 })], [1002]],
    [
      '5.19, 5.20: five fragments with pings between',
      [first, more, ping, more, more, ping, last, ping],
      ['ping', 'ping', 'text', 'ping'],
    ],
  ])('%s has the result that the Autobahn test suite expects', (_, frames, expected) => {
    expect(kinds(frames)).toEqual(expected);
  });

  it('keeps the order of fragments, including empty ones', () => {
    const frames = [
      f('', { fin: false }),
      f(A, { opcode: 0, fin: false }),
      f('', { opcode: 0, fin: false }),
      f(C, { opcode: 0, fin: false }),
      f('', { opcode: 0 }),
    ];
    expect(eventsOf(frames)).toEqual([['text', `${A}${C}`]]);
  });
});

describe('6 UTF-8', () => {
  const bytes = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
  const VALID = [
    '',
    '00',
    '7f',
    'c280',
    'dfbf',
    'e0a080',
    'ed9fbf',
    'ee8080',
    'efbfbd',
    'efbfbe',
    'efbfbf',
    'f0908080',
    'f48fbfbf',
    'ce bace b9ce ba',
    'f0a09080',
    'cebae1bdb9cf83cebcceb5',
    'ef bb bf',
    '48656c6c6f2dc2b540c39fc3b6c3a4c3bcc3a0c3a12d5554462d382121',
    ...[0x1f, 0x2f, 0x3f, 0x10f].map((plane) =>
      Buffer.from(String.fromCodePoint(plane * 0x1000 + 0xffe)).toString('hex'),
    ),
  ];
  const INVALID = [
    '80',
    'bf',
    '8080',
    'c0',
    'c1',
    'c3',
    'e0',
    'e0a0',
    'e2 82',
    'f0',
    'f0 90',
    'f0 90 80',
    'f4 90 80 80',
    'f5',
    'f8888080 80',
    'fc8480808080',
    'fe',
    'ff',
    'fefeffff',
    'c0af',
    'e080af',
    'f08080af',
    'f8808080af',
    'c1bf',
    'e09fbf',
    'f08fbfbf',
    'c080',
    'e08080',
    'f0808080',
    'eda080',
    'edadbf',
    'edae80',
    'edafbf',
    'edb080',
    'edbe80',
    'edbfbf',
    'eda080edb080',
    'cebae1bdb9cf83cebcceb5eda080656469746564',
    'cebae1bdb9cf83cebcceb5f4908080656469746564',
    'cebae1bdb9cf83cebcceb580656469746564',
    'c220',
    'e28220',
    'f09f9820',
  ];

  it.each(VALID)('6.1, 6.2, 6.5–6.23: accepts %s, whole and byte by byte in fragments', (text) => {
    const data = bytes(text);
    expect(eventsOf([f(data)])).toEqual([['text', data.toString()]]);
    const parts = pieces(data);
    const frames = [
      f('', { fin: false }),
      ...parts.map((part) => f(part, { fin: false, opcode: 0 })),
      f('', { opcode: 0 }),
    ];
    expect(eventsOf(frames)).toEqual([['text', data.toString()]]);
  });

  it.each(INVALID)('6.3, 6.6–6.23: refuses %s with 1007, whole and byte by byte in fragments', (text) => {
    const data = bytes(text);
    expect(kinds([f(data)])).toEqual([1007]);
    const frames = [
      f('', { fin: false }),
      ...pieces(data).map((part) => f(part, { fin: false, opcode: 0 })),
      f('', { opcode: 0 }),
      f('x'),
    ];
    expect(kinds(frames)).toEqual([1007]);
    // A binary message may hold any bytes.
    expect(eventsOf([f(data, { opcode: 2 })])).toEqual([['binary', hex(data)]]);
  });

  it.each([
    ['6.4.1: three fragments', [bytes('cebae1bdb9cf83cebcceb5'), bytes('f4908080'), bytes('656469746564')], 1],
    [
      '6.4.2: the invalid byte alone in a fragment',
      [bytes('cebae1bdb9cf83cebcceb5f4'), bytes('90'), bytes('8080656469746564')],
      1,
    ],
  ] as [string, Buffer[], number][])(
    '%s: fails at the invalid fragment, before the rest arrives',
    (_, parts, wrong) => {
      for (const role of ROLES) {
        const masked = role === 'server';
        const frames = parts.map((part, i) =>
          frame(part, { masked, fin: i === parts.length - 1, opcode: i === 0 ? 1 : 0 }),
        );
        expect(parse(frames.slice(0, wrong), { role }).filter(([kind]) => kind === 'error')).toEqual([]);
        expect(
          parse(frames.slice(0, wrong + 1), { role })
            .at(-1)
            ?.slice(0, 2),
        ).toEqual(['error', 1007]);
      }
    },
  );

  it.each([
    ['6.4.3', bytes('cebae1bdb9cf83cebcceb5 f4908080 656469746564'), 12],
    ['6.4.4', bytes('cebae1bdb9cf83cebcceb5 f490 8080656469746564'), 12],
  ])('%s: fails within a frame, at the invalid byte', (_, data, place) => {
    for (const role of ROLES) {
      const bytes = frame(data, { masked: role === 'server' });
      const header = bytes.length - data.length;
      expect(parse([bytes.subarray(0, header + place)], { role })).toEqual([]);
      expect(parse([bytes.subarray(0, header + place + 1)], { role })[0]?.slice(0, 2)).toEqual(['error', 1007]);
    }
  });
});

describe('7 close', () => {
  const close = (payload: Buffer | string): FrameArguments => f(payload, { opcode: 8 });
  const withCode = (code: number, reason: string | Buffer = ''): Buffer =>
    Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason as string)]);

  it('7.1: reads nothing after a close frame', () => {
    const messages = [f('one'), close(withCode(1000)), f('two'), f('', { opcode: 9 }), close(withCode(1001))];
    expect(eventsOf(messages)).toEqual([
      ['text', 'one'],
      ['close', 1000, ''],
    ]);
    expect(eventsOf([f('frag', { fin: false }), close(withCode(1000)), f('ment', { opcode: 0 })])).toEqual([
      ['close', 1000, ''],
    ]);
    expect(eventsOf([f('x'.repeat(256 * 1024)), close(withCode(1000))]).at(-1)).toEqual(['close', 1000, '']);
  });

  it.each<[string, Buffer | string, ParserEvent]>([
    ['7.3.1: no payload', '', ['close', 1005, '']],
    ['7.3.2: one byte', 'x', ['error', 1002, 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH']],
    ['7.3.3: a code', withCode(1000), ['close', 1000, '']],
    ['7.3.4: a code and a reason', withCode(1000, 'Hello World!'), ['close', 1000, 'Hello World!']],
    ['7.3.5: the longest reason', withCode(1000, 'x'.repeat(123)), ['close', 1000, 'x'.repeat(123)]],
    [
      '7.3.6: a reason one byte too long',
      withCode(1000, 'x'.repeat(124)),
      ['error', 1002, 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH'],
    ],
    [
      '7.5.1: a reason that is not UTF-8',
      withCode(1000, Buffer.from('cebaeda080', 'hex')),
      ['error', 1007, 'WS_ERR_INVALID_UTF8'],
    ],
  ])('%s has the result that the Autobahn test suite expects', (_, payload, expected) => {
    expect(eventsOf([close(payload), f('x')])).toEqual([expected]);
  });

  it.each([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999])(
    '7.7: accepts close code %i',
    (code) => {
      expect(eventsOf([close(withCode(code))])).toEqual([['close', code, '']]);
    },
  );

  it.each([0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])(
    '7.9, 7.13: refuses close code %i',
    (code) => {
      expect(kinds([close(withCode(code)), f('x')])).toEqual([1002]);
    },
  );
});

describe('9, 10 large messages', () => {
  const MIB = 1024 * 1024;

  it.each([64 * 1024, 256 * 1024, MIB, 4 * MIB])(
    '9.1–9.6: reads %i bytes, whole, in fragments of any size, and cut into chunks',
    (size) => {
      const data = textOf(size);
      const parts = [data.length, Math.ceil(size / 4), Math.ceil(size / 64)];
      for (const part of parts) {
        const all = pieces(data, part);
        const frames = all.map((piece, i) => f(piece, { opcode: i === 0 ? 1 : 0, fin: i === all.length - 1 }));
        const bytes = Buffer.concat(frames.map(([payload, options]) => frame(payload, options)));
        for (const chop of [1300, 65_536]) {
          const answer = parse(pieces(bytes, chop), { limits: { maxSize: size } }).filter(([kind]) => kind === 'text');
          expect([answer.length, answer[0]?.[1] === data.toString()]).toEqual([1, true]);
        }
      }
    },
  );

  it('10.1: reads 65536 bytes in fragments of 1300', () => {
    const all = pieces(Buffer.alloc(65_536, '*'), 1300);
    const frames = all.map((piece, i) => f(piece, { opcode: i === 0 ? 1 : 0, fin: i === all.length - 1 }));
    expect(eventsOf(frames)).toEqual([['text', '*'.repeat(65_536)]]);
  });
});

describe('12, 13 compression', () => {
  /** Sends a message in compressed fragments of `size`, and returns what the other end reads. */
  async function transfer(from: PerMessageDeflate, to: PerMessageDeflate, data: Buffer, size: number): Promise<Buffer> {
    const encoder = new FrameEncoder(from.profile.role);
    const parts = pieces(data, size);
    const frames: Buffer[] = [];
    for (const [i, part] of parts.entries()) {
      const fin = i === parts.length - 1;
      frames.push(encoder.frame(encoder.next(false, fin, true), await deflated(from, part, fin)));
    }
    const bytes = Buffer.concat([...frames, encoder.control(Opcode.PING, Buffer.from('behind'))]);
    const answer = parse(pieces(bytes, 1000), { role: to.profile.role, deflate: true }).filter(
      ([kind]) => kind !== 'fragment',
    );
    expect(answer.map(([kind]) => kind)).toEqual(['compressed', 'ping']);
    return inflated(to, Buffer.from(answer[0]![1] as string, 'hex'), true);
  }

  const OFFERS: [string, Offer['params'], Partial<CompressionSettings>][] = [
    ['13.1', [], { windowBits: 15 }],
    [
      '13.2',
      [
        ['server_no_context_takeover', true],
        ['client_no_context_takeover', true],
      ],
      {},
    ],
    ['13.3', [['server_max_window_bits', '9']], {}],
    ['13.4', [['server_max_window_bits', '15']], { windowBits: 15 }],
    [
      '13.5',
      [
        ['server_no_context_takeover', true],
        ['server_max_window_bits', '9'],
      ],
      {},
    ],
    [
      '13.6',
      [
        ['client_no_context_takeover', true],
        ['client_max_window_bits', '9'],
      ],
      {},
    ],
    ['13.7', [['client_max_window_bits', true]], { windowBits: 9 }],
  ];

  it.each(OFFERS)('12, %s: transfers messages of any size in both directions', async (_, params, settings) => {
    for (const mode of ['shared', 'dedicated'] as const) {
      const all = { ...DEFAULTS, ...settings, mode };
      const server = new Compression(all, budgetOf(64)).accept([{ name: 'permessage-deflate', params }])!;
      const client = new Compression(all, budgetOf(64), 'client').offer().accept(responseOf(server));
      if (client === undefined || typeof client === 'string') throw new Error(client);
      for (const length of [16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072])
        for (const [size, repeated] of [
          [length, 2],
          [Math.ceil(length / 3), 1],
        ] as const)
          for (let i = 0; i < repeated; i++) {
            const data = textOf(length, length + i);
            expect((await transfer(client, server, data, size)).equals(data)).toBe(true);
            expect((await transfer(server, client, data, size)).equals(data)).toBe(true);
          }
      server.close();
      client.close();
    }
  });
});
