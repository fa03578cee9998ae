import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import { resolveSettings, settingsOf } from '../../../lib/config/resolve.js';
import { clientLimitsOf, limitsOf } from '../../../lib/connection/limits.js';

setFlagsFromString('--allow-natives-syntax');
/** Whether V8 stores the properties of an object by its shape. In a hash table, each access takes several times as long. */
const hasShape = runInThisContext('(object) => %HasFastProperties(object)') as (object: object) => boolean;

const settings = resolveSettings(
  { messages: { maxQueue: 7, concurrency: 9 } },
  { get: () => undefined, names: [] },
).settings;

describe('objects that every message or handshake reads', () => {
  it('tells a hash table from an object with a shape', () => {
    const table: Record<string, number> = {};
    for (let at = 0; at < 30; at++) table[`name${at}`] = at;
    expect([hasShape(table), hasShape({ name: 1 })]).toEqual([false, true]);
  });

  it.each([
    ['limits of a server', limitsOf(settings)],
    ['limits of a client', clientLimitsOf(settings, new Set())],
    ['settings of the application', settings],
    ['settings of a gateway', settingsOf(settings, { own: new Map(), path: '/', noTls: false })],
  ])('%s are no hash table', (_, object) => {
    expect(hasShape(object)).toBe(true);
  });
});

describe('limits', () => {
  it('has room in the queue for all messages that can be handled at once', () => {
    expect(limitsOf(settings)).toMatchObject({ maxQueue: 9, concurrency: 9 });
  });

  it('hands all messages to a client at once, and has its rates only if the call names them', () => {
    const unlimited = { limit: Number.POSITIVE_INFINITY };
    const limits = clientLimitsOf(settings, new Set(['messages.rate']));
    expect(limits).toMatchObject({ maxQueue: 7, concurrency: Number.POSITIVE_INFINITY, byteRate: unlimited });
    expect(limits.rate).toEqual(settings.messages.rate);
  });
});
