// @ts-nocheck
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isTooDeep, parseMessage, readMessage } from '../../../lib/dispatch/message-parser.js';

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
        expect(parseMessage(Buffer.from(text))).toEqual(JSON.parse(Buffer.from(text).toString()));
      }),
    );
  });

  it('never throws, and gives nothing but objects with an event of text and their own prototype', () => {
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
        const message = parseMessage(data);
        if (message === undefined) return;
        expect(typeof message.event).toBe('string');
        expect(Object.getPrototypeOf(message)).toBe(Object.prototype);
        expect(Object.hasOwn(message, '__proto__')).toBe(false);
      }),
    );
  });

  it('counts the depth as a parser would, whatever strings hold', () => {
    const nested = fc.tuple(
      fc.integer({ min: 240, max: 270 }),
      fc.string({ unit: fc.constantFrom('[', ']', '{', '"', '\\', 'ü') }),
      fc.boolean(),
    );
    fc.assert(
      fc.property(nested, ([depth, noise, objects]) => {
        let value: unknown = noise;
        for (let i = 0; i < depth; i++) value = objects ? { [noise]: value } : [noise, value];
        expect(isTooDeep(Buffer.from(JSON.stringify(value)))).toBe(depthOf(value) > 256);
      }),
    );
  });

  it('counts no depth in a string that never ends', () => {
    const endless = `["${'['.repeat(1000)}`;
    expect(isTooDeep(Buffer.from(endless))).toBe(false);
    expect(isTooDeep(Buffer.from(`${endless}\\"`))).toBe(false);
    expect(parseMessage(Buffer.from(endless))).toBeUndefined();
    expect(isTooDeep(Buffer.from(`${endless}",${'['.repeat(256)}`))).toBe(true);
  });
});

describe('readMessage', () => {
  it('takes what a parser gives, of whatever shape', () => {
    for (const given of [{ event: 'a' }, { event: 1 }, {}])
      expect(readMessage(Buffer.from('x'), false, () => given as never, never)).toBe(given);
    for (const given of [undefined, null, 7, 'a', false])
      expect(readMessage(Buffer.from('x'), false, () => given as never, never)).toBe('dropped');
  });
});
