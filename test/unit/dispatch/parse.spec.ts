import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { indexBytes, measureStructure, REFUSED, resultBytes } from '../../../lib/dispatch/json-structure.js';
import { parseMessage, readMessage } from '../../../lib/dispatch/message-parser.js';
import { runs } from '../../support/runs.js';

const MANY = 1_000_000;
const count = (text: string, max = MANY) => measureStructure(Buffer.from(text), max);
const isRefused = (text: string) => count(text) === REFUSED;
/** The number of values and keys in a result of `JSON.parse`. */
const nodesOf = (value: unknown): number =>
  typeof value !== 'object' || value === null
    ? 1
    : Array.isArray(value)
      ? value.reduce((sum: number, item) => sum + nodesOf(item), 1)
      : Object.values(value).reduce((sum: number, item) => sum + 1 + nodesOf(item), 1);

const never = () => {
  throw new Error('not expected');
};
const depthOf = (value: unknown): number =>
  typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;

describe('parseMessage', () => {
  it('reads what JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.jsonValue(), (event, data) => {
        const text = JSON.stringify({ event, data });
        fc.pre(!text.includes('__proto__') && !text.includes('constructor'));
        const value: object = JSON.parse(Buffer.from(text).toString());
        expect(parseMessage(Buffer.from(text), MANY)).toEqual({
          ...value,
          charge: expect.any(Number),
        });
      }),
    );
  });

  it('never throws, returns only objects with an event, and passes no key that reaches a prototype', () => {
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)),
      fc
        .string({
          unit: fc.constantFrom(
            '{',
            '}',
            '[',
            ']',
            '"',
            '\\',
            ':',
            ',',
            '1',
            'event',
            '__proto__',
            'constructor',
            'prototype',
            ' ',
          ),
        })
        .map((text) => Buffer.from(text)),
      fc.json().map((text) => Buffer.from(`{"event":"x","data":${text},"__proto__":${text}}`)),
    );
    fc.assert(
      fc.property(hostile, (data) => {
        const message = parseMessage(data, MANY);
        if (message === undefined) return;
        expect(Object.hasOwn(JSON.parse(data.toString()) as object, 'event')).toBe(true);
        expect(JSON.stringify(message.data) ?? '').not.toContain('"__proto__":');
      }),
    );
  });

  it('counts the nesting depth as a parser does, whatever strings contain', () => {
    const nested = fc.tuple(
      fc.integer({ min: 240, max: 270 }),
      fc.string({ unit: fc.constantFrom('[', ']', '{', '"', '\\', 'ü') }),
      fc.boolean(),
    );
    fc.assert(
      fc.property(nested, ([depth, noise, objects]) => {
        let value: unknown = noise;
        for (let i = 0; i < depth; i++) value = objects ? { [noise]: value } : [noise, value];
        expect(isRefused(JSON.stringify(value))).toBe(depthOf(value) > 256);
      }),
    );
  });

  it('counts no depth in an unterminated string', () => {
    const endless = `["${'['.repeat(1000)}`;
    expect(isRefused(endless)).toBe(false);
    expect(isRefused(`${endless}\\"`)).toBe(false);
    expect(parseMessage(Buffer.from(endless), MANY)).toBeUndefined();
    expect(isRefused(`${endless}",${'['.repeat(256)}`)).toBe(true);
  });

  it('accepts an event of any JSON type, and requires one', () => {
    for (const event of [0, 7, -1.5, '', 'a', true, false, null, {}, []])
      expect(parseMessage(Buffer.from(JSON.stringify({ event, data: 1 })), MANY)).toMatchObject({ event, data: 1 });
    for (const text of ['7', 'null', '"event"', '[]', '{}', '{"data":1}', '{"Event":1}', '['])
      expect(parseMessage(Buffer.from(text), MANY)).toBeUndefined();
  });
});

describe('measureStructure', () => {
  /** The string in JSON with some characters escaped. */
  const written = (text: string, escapes: readonly boolean[]) =>
    `"${[...text].map((char, at) => (escapes[at % escapes.length] ? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}` : JSON.stringify(char).slice(1, -1))).join('')}"`;

  it('counts as many nodes as JSON.parse creates, whatever strings, white space and numbers', () => {
    const space = fc.string({ unit: fc.constantFrom(' ', '\n', '\t', '\r'), maxLength: 3 });
    fc.assert(
      fc.property(fc.jsonValue(), space, (value, blank) => {
        const text = JSON.stringify(value, (key, item: unknown) => (key === '__proto__' ? undefined : item), blank);
        fc.pre(!/"(?:__proto__|prototype)"/.test(text) && new Set(text.match(/"[^"]*":/g)).size >= 0);
        expect(count(text)).toBe(nodesOf(JSON.parse(text)));
      }),
    );
  });

  it('charges array indices used as keys for the elements that V8 allocates', () => {
    const charge = (data: string) => parseMessage(Buffer.from(`{"event":1,"data":${data}}`), MANY)!.charge;
    expect(charge('{"a":0}')).toBe(7 * 64);
    expect(charge('{"-1":0,"a1":1}')).toBe(9 * 64);
    // A list with a place for each index up to the largest.
    for (const key of ['34', '3\\u0034', '\\u0033\\u0034']) expect(charge(`{"${key}":0}`)).toBe(7 * 64 + 16 + 8 * 35);
    expect(charge('{"0":0}')).toBe(7 * 64 + 16 + 8);
    expect(charge('{"70":0,"1":0,"2":0,"3":0}')).toBe(13 * 64 + 16 + 8 * 71);
    expect(charge('{"70":0,"0":0,"0":0,"0":0}')).toBe(13 * 64 + 16 + 8 * 71);
    // A hash table, where the list would be nine times as long.
    for (const key of ['35', '100', '4294967294']) expect(charge(`{"${key}":0}`)).toBe(7 * 64 + 48 + 24 * 4);
    expect(charge('{"71":0,"1":0,"2":0,"3":0}')).toBe(13 * 64 + 48 + 24 * 8);
    // Each object for itself.
    expect(charge('{"34":{"34":0},"a":{"b":0}}')).toBe(13 * 64 + 2 * (16 + 8 * 35));
    for (const key of ['4294967295', '01', '1a', '1.5', '\\u0061', '\\n', '3\\u00', ''])
      expect(measureStructure(Buffer.from(`{"${key}":0}`), MANY) * 64 + indexBytes).toBe(3 * 64);
  });

  it('refuses a text whose result takes more than 4 KiB plus 20 bytes for each byte of the text', () => {
    const list = (item: string, length: number) => `[${Array(length).fill(item)}]`;
    const chain = (open: string, close: string, depth: number) => `${open.repeat(depth)}0${close.repeat(depth)}`;
    const border = (make: (length: number) => string) => {
      let length = 1;
      while (length < 5000 && !isRefused(make(length))) length++;
      return length;
    };
    expect(border((length) => list('{}', length))).toBe(1016);
    expect(border((length) => list('[{}]', length))).toBe(204);
    expect(border((length) => list('{"34":0}', length))).toBe(22);
    expect(border((length) => list('{"35":0}', length))).toBe(113);
    expect(border((length) => list('{"abc":0}', length))).toBe(5000);
    expect(border((length) => chain('{"34":', '}', length))).toBe(19);
    expect(border((length) => chain('[', ']', length))).toBe(257);
    expect(border((length) => list(chain('[', ']', 200), length))).toBe(2);
    const sparse = (keys: number) =>
      JSON.stringify(
        Object.fromEntries(
          Array(keys)
            .fill(1)
            .map((one, at) => [25 * at, one]),
        ),
      );
    expect(border(sparse)).toBe(172);
    // As many small messages as one likes: each is within 4 KiB.
    expect(isRefused(list('{"34":0}', 10))).toBe(false);
    // The text around it counts.
    const attack = list('{"34":0}', 300);
    expect(isRefused(attack)).toBe(true);
    expect(isRefused(`[${attack},"${'x'.repeat(6_000)}"]`)).toBe(false);
    expect(isRefused(list(' {"34" : 0 }       \n', 300))).toBe(false);
  });

  describe('has room for honest messages, which take for each byte of their text', () => {
    const many = <T>(length: number, make: (at: number) => T): T[] => Array.from({ length }, (_, at) => make(at));
    const seat = (at: number) => `${String.fromCharCode(65 + (at % 26))}${Math.floor(at / 26) + 1}`;
    const position = (at: number) => [102.1 + at / 1000, 0.5 + at / 700];
    const messages: Readonly<Record<string, [factor: number, data: unknown]>> = {
      'a chat message': [12.9, { room: 'general', text: 'hello', at: 1_700_000_000_000 }],
      'GeoJSON: points': [
        6.6,
        many(300, (at) => ({
          type: 'Feature',
          geometry: { type: 'Point', coordinates: position(at) },
          properties: {},
        })),
      ],
      'GeoJSON: a polygon': [3.3, { type: 'MultiPolygon', coordinates: [[many(2000, position)]] }],
      'points of small integers': [12.9, many(1500, (at) => ({ x: at % 10, y: at % 7 }))],
      'a matrix of one-digit integers': [4.3, many(90, () => many(100, (at) => at % 10))],
      'a matrix of floats': [1.4, many(90, () => many(100, (at) => at / 7))],
      'a column vector': [16, many(2000, (at) => [at % 10])],
      'adjacency lists': [9.7, many(1500, (at) => many(at % 5, (to) => at + to))],
      'adjacency lists without edges': [18.7, many(3000, () => [])],
      'adjacency lists by id': [6.9, Object.fromEntries(many(1200, (at) => [at, [at + 1, at + 2]]))],
      'counts by id, dense': [1.9, Object.fromEntries(many(3000, (at) => [at, 1]))],
      'counts by id, one in four': [4.6, Object.fromEntries(many(1000, (at) => [4 * at, at % 10]))],
      'counts by id, one in ten': [9.9, Object.fromEntries(many(1000, (at) => [10 * at, at % 10]))],
      'counts by id, one in twenty': [17.9, Object.fromEntries(many(900, (at) => [20 * at, at % 10]))],
      'counts by id, one in a thousand': [5.2, Object.fromEntries(many(1000, (at) => [100_000 + 1000 * at, at % 10]))],
      'records by id': [7.3, Object.fromEntries(many(500, (at) => [100 * at, { name: `player ${at}`, score: at }]))],
      'a map of seats': [17.2, Object.fromEntries(many(1000, (at) => [seat(at), at % 3]))],
      'prices by currency': [7.6, Object.fromEntries(many(170, (at) => [`C${at}`, at / 3]))],
      'rows of the same columns': [
        9.4,
        many(600, (at) => ({ id: at, name: `row ${at}`, open: at % 2 === 0, tags: ['a'] })),
      ],
      'objects with an empty object': [12.5, many(1000, (at) => ({ id: at, meta: {} }))],
      'an inventory, half of it empty': [10.4, many(2000, (at) => (at % 2 === 0 ? {} : { item: at, count: 3 }))],
      'a grid of empty cells with their places': [12.5, many(1000, (at) => ({ x: at, y: at, cell: {} }))],
      'a tree': [
        10.1,
        (function tree(depth: number): object {
          return { name: `n${depth}`, children: depth === 0 ? [] : [tree(depth - 1), tree(depth - 1)] };
        })(9),
      ],
      'a tree of lists': [
        16,
        (function tree(depth: number): unknown {
          return depth === 0 ? 1 : [tree(depth - 1), tree(depth - 1)];
        })(11),
      ],
      'a GraphQL request': [
        5.3,
        {
          id: '1',
          type: 'subscribe',
          payload: { query: 'query($a: Int) { a { b { c d } } }'.repeat(9), variables: { a: 1 } },
        },
      ],
      'a Yjs update, as numbers': [6.6, many(8000, (at) => (at * 31) % 256)],
      'a JSON patch': [7, many(400, (at) => ({ op: 'replace', path: `/items/${at}/count`, value: at }))],
      'a long text': [2, 'word '.repeat(5_000)],
      'a text of another script': [2, '汉字'.repeat(5_000)],
      nulls: [4.8, many(5000, () => null)],
      'empty strings': [10.7, many(5000, () => '')],
    };

    it.each(Object.entries(messages))('calculates the memory of %s', (_, [factor, data]) => {
      const text = Buffer.from(JSON.stringify({ event: 'x', data }));
      expect(Math.round((10 * resultBytes(text, MANY)) / text.length) / 10).toBe(factor);
      expect(measureStructure(text, 10_000)).toBeGreaterThan(0);
    });
  });

  it('finds the end of a string of any length and with any escapes', () => {
    const noise = fc.string({ unit: fc.constantFrom('\\', '"', 'a', '[', ',', 'ü'), maxLength: 200 });
    fc.assert(
      fc.property(noise, noise, (one, two) => expect(count(JSON.stringify([one, [two]]))).toBe(4)),
      { numRuns: runs(500) },
    );
  });

  it('refuses one node more than the limit', () => {
    for (const text of ['[1,2,3]', '{"a":1,"b":2}', '["x",{"y":[]}]']) {
      const nodes = nodesOf(JSON.parse(text));
      expect(count(text, nodes)).toBe(nodes);
      expect(count(text, nodes - 1)).toBe(REFUSED);
    }
  });

  it('refuses keys that reach a prototype, however they are escaped, and no other keys', () => {
    const escapes = fc.array(fc.boolean(), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(escapes, escapes, fc.boolean(), (one, two, spaced) => {
        const colon = spaced ? ' \n:\t' : ':';
        const proto = written('__proto__', one);
        expect(isRefused(`{"a":[{${proto}${colon}{}}]}`)).toBe(true);
        expect(isRefused(`{"a":${proto}}`)).toBe(false);
        const builder = written('constructor', one);
        const prototype = written('prototype', two);
        expect(isRefused(`{"x":{${builder}${colon}{"a":{},${prototype}${colon}1}}}`)).toBe(true);
        expect(isRefused(`{${builder}:{"a":{${prototype}:1}}}`)).toBe(false);
        expect(isRefused(`[{${builder}:0},{${prototype}:1}]`)).toBe(false);
        expect(isRefused(`{${builder}:[{${prototype}:1}]}`)).toBe(false);
        expect(isRefused(`{${prototype}:${builder}}`)).toBe(false);
      }),
    );
    for (const key of ['__proto_', '__proto___', '_\\u005fproto', 'Constructor', '__proto\\u00zz__'])
      expect(isRefused(`{"${key}":{"prototype":1}}`)).toBe(false);
  });
});

describe('readMessage', () => {
  it('accepts any object that an application parser returns', () => {
    for (const given of [{ event: 'a' }, { event: 1, data: {} }, {}])
      expect(readMessage(Buffer.from('x'), false, () => given as never, MANY, never)).toEqual({ ...given, charge: 64 });
    for (const given of [undefined, null, 7, 'a', false])
      expect(readMessage(Buffer.from('x'), false, () => given as never, MANY, never)).toBe('dropped');
  });

  it('measures text that looks like JSON before the application parser runs', () => {
    const seen: unknown[] = [];
    const parser = (data: string | Buffer) => {
      seen.push(data);
      return { event: 'x' };
    };
    const read = (text: string, isBinary = false) => readMessage(Buffer.from(text), isBinary, parser, 3, never);
    expect(read(' [1,2,3]')).toBe('malformed');
    expect(seen).toEqual([]);
    expect(read('["a"]')).toMatchObject({ charge: 128 });
    expect(read('1,2,3,4,5')).toMatchObject({ charge: 64 });
    expect(read('[1,2,3]', true)).toMatchObject({ charge: 64 });
  });

  it('measures the result of an application parser for binary and non-JSON messages', () => {
    const given = (data: unknown, max: number, isBinary = true) =>
      readMessage(Buffer.from('42["x"]'), isBinary, () => ({ event: 'x', data }) as never, max, never);
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    for (const isBinary of [true, false]) {
      expect(given([1, [2, 3], { a: 4 }], 8, isBinary)).toMatchObject({ charge: 512 });
      expect(given([1, [2, 3], { a: 4 }], 7, isBinary)).toBe('malformed');
    }
    expect(given(new Map([[1, { a: 2 }]]), 5)).toMatchObject({ charge: 320 });
    expect(given(Buffer.alloc(1e6), 5)).toMatchObject({ charge: 64 });
    expect(given(new Uint8Array(1e6), 5)).toMatchObject({ charge: 64 });
    expect(given(Object.create(null, { a: { value: 1, enumerable: true } }), 3)).toMatchObject({ charge: 192 });
    for (const large of [
      circle,
      Array(1e6).fill(0),
      Object.fromEntries(Array(500).entries()),
      new Map(Array(500).entries()),
    ])
      expect(given(large, 400)).toBe('malformed');
    const hostile = {};
    Object.defineProperty(hostile, 'x', {
      get: () => {
        throw new Error('read');
      },
      enumerable: true,
    });
    expect(
      readMessage(
        Buffer.from('x'),
        false,
        () => ({ event: 'x', data: hostile }) as never,
        MANY,
        () => undefined,
      ),
    ).toBe('malformed');
  });

  it('survives any value that an application parser returns', () => {
    const failed: unknown[] = [];
    const read = (given: unknown) =>
      readMessage(
        Buffer.from('x'),
        false,
        () => given as never,
        MANY,
        (error) => failed.push(error),
      );
    const throwing = (name: string) =>
      Object.defineProperty({}, name, {
        get: () => {
          throw new Error(name);
        },
      });
    for (const given of [
      throwing('then'),
      throwing('event'),
      throwing('data'),
      new Proxy(
        {},
        {
          get: () => {
            throw new Error('all');
          },
        },
      ),
    ])
      expect(read(given)).toBe('malformed');
    expect(failed.map((error) => (error as Error).message)).toEqual(['then', 'event', 'data', 'all']);
  });
});
