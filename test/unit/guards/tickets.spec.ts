import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { attempt } from 'nest-secure-ws/testing';
import type { AdmissionGuard } from '../../../lib/admission/guard.js';
import { runGuards } from '../../../lib/admission/guard-runner.js';
import {
  MemoryTicketStore,
  SecureWsTickets,
  type TicketGuardOptions,
  type TicketOptions,
  type TicketStore,
  TicketsFullError,
  ticketGuard,
} from '../../../lib/guards/tickets.js';

class Clock {
  time = 0;
  readonly now = (): number => this.time;
}

function make(store?: TicketStore, options?: TicketGuardOptions) {
  const clock = new Clock();
  const memory = new MemoryTicketStore(clock.now);
  const tickets = new SecureWsTickets(store ?? memory);
  const guard: AdmissionGuard = new (ticketGuard(options))(tickets);
  return { clock, memory, tickets, guard };
}

/** The peer's answer, through the runner that the server uses. */
async function outcome(guard: AdmissionGuard, options: Parameters<typeof attempt>[0]) {
  const thrown: unknown[] = [];
  const said = await runGuards([(each) => guard.admit(each)], attempt(options), {
    timeout: 1000,
    schedule: () => () => undefined,
    now: Date.now,
    onThrown: (error) => thrown.push(error),
  });
  expect(thrown).toEqual([]);
  return said;
}

const detail = async (guard: AdmissionGuard, options: Parameters<typeof attempt>[0]): Promise<unknown> => {
  const said = await outcome(guard, options);
  if (said.reason !== 'guard') throw new Error(`it is ${said.reason}`);
  expect(said.headers).toEqual(said.status === 503 ? [['Retry-After', '5']] : []);
  return [said.status, said.detail];
};

const at = (ticket: string) => ({ path: `/chat?ticket=${ticket}` });

describe('a ticket', () => {
  it('has 256 random bits, in characters safe in URLs, cookies and subprotocols', async () => {
    const { tickets } = make();
    const issued = await Promise.all(Array.from({ length: 500 }, () => tickets.issue({})));
    expect(new Set(issued).size).toBe(500);
    for (const each of issued) expect(each).toMatch(/^[\w-]{43}$/);
    const bits = issued.map((each) => Buffer.from(each, 'base64url'));
    // Each bit is set in about half of the tickets.
    for (let bit = 0; bit < 256; bit++) {
      const ones = bits.filter((bytes) => bytes[bit >> 3]! & (1 << (bit & 7))).length;
      expect(ones).toBeGreaterThan(150);
      expect(ones).toBeLessThan(350);
    }
  });

  it('opens one connection, with the principal it was issued for', async () => {
    const { guard, tickets, memory } = make();
    const expiresAt = Date.now() + 60_000;
    const ticket = await tickets.issue({ principal: { name: 'Ada', roles: ['x'] }, userKey: 7, expiresAt });
    expect(await outcome(guard, at(ticket))).toMatchObject({
      principal: { name: 'Ada', roles: ['x'] },
      userKey: '7',
      expiresAt,
    });
    expect(memory.size).toBe(0);
    expect(await detail(guard, at(ticket))).toEqual([401, 'a guard: the ticket is unknown, used or too old']);
  });

  it('may be issued without any property', async () => {
    const { guard, tickets } = make();
    expect(await outcome(guard, at(await tickets.issue({})))).toMatchObject({
      principal: undefined,
      expiresAt: Infinity,
    });
  });

  it('is valid for its time, and not a millisecond longer', async () => {
    const { guard, tickets, clock } = make();
    const [first, second] = [await tickets.issue({}, '30s'), await tickets.issue({}, '30s')];
    clock.time = 29_999;
    expect((await outcome(guard, at(first))).reason).toBeUndefined();
    clock.time = 30_000;
    expect(await detail(guard, at(second))).toEqual([401, expect.stringContaining('too old')]);
  });

  it('is accepted only at its path and from its address, and is used up elsewhere too', async () => {
    const { guard, tickets } = make();
    const issue = (options: TicketOptions) => tickets.issue(options);
    const path = await issue({ path: '/chat' });
    expect((await outcome(guard, at(path))).reason).toBeUndefined();
    const other = await issue({ path: '/rooms/1' });
    expect(await detail(guard, at(other))).toEqual([401, expect.stringContaining('another path')]);
    expect(await detail(guard, { path: `/rooms/1?ticket=${other}` })).toEqual([
      401,
      expect.stringContaining('unknown'),
    ]);
    const ip = await issue({ ip: '::ffff:203.0.113.7' });
    expect((await outcome(guard, { ...at(ip), ip: '203.0.113.7' })).reason).toBeUndefined();
    const stolen = await issue({ ip: '2001:DB8::1' });
    expect(await detail(guard, { ...at(stolen), ip: '2001:db8::2' })).toEqual([
      401,
      expect.stringContaining('address'),
    ]);
  });

  it('is read from the configured places', async () => {
    const { guard, tickets } = make(undefined, { from: ['cookie:t', 'protocol', 'query:x'] });
    expect((await outcome(guard, { cookies: { t: await tickets.issue({}) } })).reason).toBeUndefined();
    expect((await outcome(guard, { path: `/?x=${await tickets.issue({})}` })).reason).toBeUndefined();
    const ticket = await tickets.issue({});
    expect(await outcome(guard, { protocols: [`ticket.${ticket}`, 'chat'] })).toMatchObject({ subprotocol: 'chat' });
    expect(await detail(guard, at(await tickets.issue({})))).toEqual([
      401,
      expect.stringContaining('no ticket was sent'),
    ]);
    expect(() => ticketGuard({ from: ['header' as never] })).toThrow(TypeError);
  });

  it.each([
    '',
    'x',
    'a'.repeat(42),
    'a'.repeat(44),
    `${'a'.repeat(42)}!`,
    `${'a'.repeat(42)}%20`,
    'a'.repeat(8000),
    '%00'.repeat(43),
  ])('%j is refused without asking the store', async (ticket) => {
    let asked = 0;
    const store = { put: () => undefined, take: () => void asked++ } as TicketStore;
    const said = await outcome(make(store).guard, at(ticket));
    expect(said).toMatchObject({ reason: 'guard', status: 401 });
    expect(asked).toBe(0);
  });

  it('given several times is refused and stays unused', async () => {
    const { guard, tickets, memory } = make();
    const ticket = await tickets.issue({});
    expect(await detail(guard, { path: `/?ticket=${ticket}&ticket=${ticket}` })).toEqual([
      401,
      expect.stringContaining('several'),
    ]);
    expect(memory.size).toBe(1);
  });

  it('is stored only as its SHA-256', async () => {
    const kept: unknown[][] = [];
    const store: TicketStore = { put: (...args) => void kept.push(args), take: () => undefined };
    const ticket = await make(store).tickets.issue({ principal: 'ada', path: '/chat' }, '10s');
    const key = createHash('sha256').update(ticket).digest('base64url');
    expect(kept).toEqual([[key, '{"principal":"ada","path":"/chat"}', 10_000, undefined]]);
  });

  it('is 503 when the store fails', async () => {
    const failing: TicketStore = { put: () => undefined, take: () => Promise.reject(new Error('redis is gone')) };
    const throwing: TicketStore = {
      put: () => undefined,
      take: () => {
        throw new Error('redis is gone');
      },
    };
    for (const store of [failing, throwing]) {
      expect(await detail(make(store).guard, at('a'.repeat(43)))).toEqual([
        503,
        expect.stringContaining('ticket store is unavailable'),
      ]);
    }
  });

  it('opens one connection for many concurrent attempts, also with a slow store', async () => {
    const memory = new MemoryTicketStore();
    const slow: TicketStore = {
      put: (...args) => memory.put(...args),
      take: async (key) => {
        await new Promise(setImmediate);
        return memory.take(key);
      },
    };
    for (const store of [memory, slow]) {
      const { guard, tickets } = make(store);
      const ticket = await tickets.issue({ principal: 'ada' });
      const all = await Promise.all(Array.from({ length: 50 }, () => outcome(guard, at(ticket))));
      expect(all.filter(({ reason }) => reason === undefined)).toHaveLength(1);
    }
  });

  it.each([
    [{ ip: 'nowhere' }, '30s', 'ip'],
    [{ path: 'chat' }, '30s', 'path'],
    [{ path: /x/ }, '30s', 'path'],
    [{ userKey: '' }, '30s', 'userKey'],
    [{ userKey: Number.NaN }, '30s', 'userKey'],
    [{ expiresAt: 1_893_456_000 }, '30s', 'expiresAt'],
    [{ expiresAt: new Date('never') }, '30s', 'expiresAt'],
    [{ principal: 'x'.repeat(8192) }, '30s', '8192'],
    [{ principal: 1n }, '30s', 'BigInt'],
    [{}, '999ms', 'ttl'],
    [{}, '16m', 'ttl'],
    [{}, 'soon', 'ttl'],
    [{}, Number.NaN, 'ttl'],
  ])('is not issued for %p and %p', async (options, ttl, words) => {
    const { tickets, memory } = make();
    await expect(tickets.issue(options as TicketOptions, ttl)).rejects.toThrow(words);
    expect(memory.size).toBe(0);
  });
});

describe('MemoryTicketStore', () => {
  it('is bounded: a new ticket is refused until others are used or expired', () => {
    const clock = new Clock();
    const store = new MemoryTicketStore(clock.now, 100);
    for (let i = 0; i < 100; i++) store.put(`k${i}`, '', i === 0 ? 90_000 : 30_000, undefined);
    expect(() => store.put('more', '', 1000, undefined)).toThrow(TicketsFullError);
    expect(store.take('k5')).toBe('');
    store.put('more', '', 1000, undefined);
    clock.time = 30_000;
    // The first ticket lives longest; those after it are removed when they expire.
    store.put('again', '', 1000, undefined);
    expect(store.size).toBe(2);
    expect(store.take('k0')).toBe('');
  });

  it('keeps few tickets per user: the newest replace the oldest of the same user', async () => {
    const { guard, tickets, memory } = make();
    const mine = await tickets.issue({ userKey: 'other' });
    const all: string[] = [];
    for (let i = 0; i < 20; i++) all.push(await tickets.issue({ userKey: 'ada' }));
    expect(memory.size).toBe(17);
    expect((await outcome(guard, at(all[3]!))).reason).toBe('guard');
    expect((await outcome(guard, at(all[4]!))).reason).toBeUndefined();
    expect((await outcome(guard, at(mine))).reason).toBeUndefined();
  });

  it('is empty once all tickets are used or expired', async () => {
    const { guard, tickets, memory, clock } = make();
    for (let i = 0; i < 40; i++) {
      const ticket = await tickets.issue({ userKey: `user-${i % 3}` });
      if (i % 2 === 0) await outcome(guard, at(ticket));
    }
    clock.time += 30_000;
    await tickets.issue({ userKey: 'last' });
    expect(memory.size).toBe(1);
    expect((memory as unknown as { owners: Map<string, unknown> }).owners.size).toBe(1);
  });
});
