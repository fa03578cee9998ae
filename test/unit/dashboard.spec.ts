import { describe, expect, it, jest } from '@jest/globals';
import { Dashboard, type DashboardSource, type ListedConnection } from '../../lib/dashboard/dashboard.service.js';
import { History, SLOTS } from '../../lib/dashboard/history.js';
import { briefOf, heaviest, pageOf } from '../../lib/dashboard/nodes.js';
import { DashboardSessions, LoginLimit, SESSION_TIME } from '../../lib/dashboard/session.js';
import { TopCounters } from '../../lib/dashboard/top-counters.js';
import { parseAddress } from '../../lib/net/address.js';

const TOKEN = 'a-token-of-at-least-thirty-two-characters';

describe('DashboardSessions', () => {
  const sessions = new DashboardSessions(TOKEN);
  const cookie = sessions.issue(1000);

  it('accepts an issued cookie until it expires', () => {
    expect(sessions.isValid(cookie, 1000)).toBe(true);
    expect(sessions.isValid(cookie, 1000 + SESSION_TIME - 1)).toBe(true);
    expect(sessions.isValid(cookie, 1000 + SESSION_TIME)).toBe(false);
  });

  it('accepts the cookie of another process with the same token, and refuses it with another token', () => {
    expect(new DashboardSessions(TOKEN).isValid(cookie, 1000)).toBe(true);
    expect(new DashboardSessions(`${TOKEN}!`).isValid(cookie, 1000)).toBe(false);
  });

  it.each([
    undefined,
    '',
    '..',
    'x',
    cookie.slice(0, -1),
    `${cookie}x`,
    `zzzzzzzzz${cookie.slice(cookie.indexOf('.'))}`,
    cookie.replace(/^[^.]+/, 'Infinity'),
    `${cookie.split('.').slice(0, 2).join('.')}.${'é'.repeat(43)}`,
  ])('refuses %j', (forged) => {
    expect(sessions.isValid(forged, 1000)).toBe(false);
  });

  it('compares the whole token', () => {
    expect(sessions.isToken(TOKEN)).toBe(true);
    for (const wrong of [undefined, null, 1, '', TOKEN.slice(1), `${TOKEN} `, [TOKEN], { toString: () => TOKEN }])
      expect(sessions.isToken(wrong)).toBe(false);
  });

  it('is one of the cookies with its name', () => {
    const is = (header: string | undefined) => sessions.isLoggedIn(header, 'session', 1000);
    for (const header of [`session=${cookie}`, `a=b; session=${cookie} ; c=d`, `session=x; session=${cookie}`])
      expect(is(header)).toBe(true);
    for (const header of [undefined, '', 'session', 'session=', `xsession=${cookie}`, `a="session=${cookie}"`])
      expect(is(header)).toBe(false);
    expect(is(`${'session=x;'.repeat(8)} session=${cookie}`)).toBe(false);
  });
});

describe('LoginLimit', () => {
  const at = (text: string) => parseAddress(text)!;

  it('limits failures by address, and recovers', () => {
    const limit = new LoginLimit();
    const [one, other] = [at('192.0.2.1'), at('192.0.2.2')];
    for (let failure = 0; failure < 5; failure++) {
      expect(limit.waitOf(one, 0)).toBe(0);
      limit.failed(one, 0);
    }
    expect(limit.waitOf(one, 0)).toBe(12);
    expect(limit.waitOf(other, 0)).toBe(0);
    expect(limit.waitOf(one, 12_000)).toBe(0);
  });

  it('limits a /64 like one address', () => {
    const limit = new LoginLimit();
    for (let failure = 0; failure < 5; failure++) limit.failed(at(`2001:db8::${failure}`), 0);
    expect(limit.waitOf(at('2001:db8::ffff:1'), 0)).toBe(12);
    expect(limit.waitOf(at('2001:db8:0:1::1'), 0)).toBe(0);
  });

  it('limits a /48 after eight times as many failures', () => {
    const limit = new LoginLimit();
    let failures = 0;
    for (let prefix = 0; prefix < 1000; prefix++) {
      const address = at(`2001:db8:0:${prefix.toString(16)}::1`);
      if (limit.waitOf(address, 0) > 0) continue;
      failures++;
      limit.failed(address, 0);
    }
    expect(failures).toBe(40);
    expect(limit.waitOf(at('2001:db8:1::1'), 0)).toBe(0);
  });

  it('remembers ten thousand addresses, and no more', () => {
    const limit = new LoginLimit();
    const of = (key: string) => ({ key, site: undefined });
    for (let failure = 0; failure < 5; failure++) limit.failed(of('first'), 0);
    for (let address = 0; address < 9_999; address++) limit.failed(of(`${address}`), 0);
    expect(limit.waitOf(of('first'), 0)).toBeGreaterThan(0);
    limit.failed(of('one more'), 0);
    expect(limit.waitOf(of('first'), 0)).toBe(0);
  });
});

describe('History', () => {
  const second = (connections: number, refused = [0, 0]) => ({
    connections,
    heldBytes: 1,
    loopDelay: 2,
    accepted: 3,
    refused,
  });

  it('keeps ten minutes and returns the entries after a time', () => {
    const history = new History(['origin', 'path']);
    for (let time = 1; time <= SLOTS + 10; time++) history.push(time, second(time, [0, time % 2]));
    const all = history.after(0);
    expect(all.time.length).toBe(SLOTS);
    expect([all.time[0], all.time.at(-1)]).toEqual([11, SLOTS + 10]);
    expect(Object.keys(all.refused)).toEqual(['path']);
    expect(history.after(SLOTS + 8)).toEqual({
      time: [SLOTS + 9, SLOTS + 10],
      connections: [SLOTS + 9, SLOTS + 10],
      heldBytes: [1, 1],
      loopDelay: [2, 2],
      accepted: [3, 3],
      refused: { path: [1, 0] },
    });
  });
});

describe('TopCounters', () => {
  it('keeps a frequent key among many that occur once', () => {
    const top = new TopCounters(16);
    for (let index = 0; index < 10_000; index++) {
      top.add(`stranger ${index}`);
      if (index % 4 === 0) top.add('heavy');
    }
    const [first] = top.top(1);
    expect(first!.key).toBe('heavy');
    expect(first!.count - first!.atMost).toBeLessThanOrEqual(2500);
    expect(first!.count).toBeGreaterThanOrEqual(2500);
  });

  it('fades counts over time', () => {
    const top = new TopCounters(4);
    top.add('a', 8);
    top.add('b');
    for (let half = 0; half < 2; half++) top.fade();
    expect(top.top(4)).toEqual([{ key: 'a', count: 2, atMost: 0 }]);
  });
});

describe('briefs of other processes', () => {
  const brief = {
    ...{ state: 'pressed', connections: 3, pending: 1, heldBytes: 5, accepted: 0.5, refused: 2, loopDelay: 7 },
    reasons: { origin: 4 },
    topAddresses: [{ key: '192.0.2.1', count: 9, atMost: 1 }],
    topUsers: [],
  };

  it('are read as they were sent', () => {
    expect(briefOf(JSON.parse(JSON.stringify(brief)))).toEqual(brief);
  });

  it.each([undefined, null, 1, 'x', [], {}, { state: 'fine' }])('are ignored when they are %j', (said) => {
    expect(briefOf(said)).toBeUndefined();
    expect(pageOf(said)).toBeUndefined();
  });

  it('are bounded and converted to the types of the page', () => {
    const junk = Array.from({ length: 1000 }, () => ({ key: 'k'.repeat(10_000), count: -1, id: {}, user: [] }));
    const read = briefOf({ ...brief, connections: 'many', refused: Number.NaN, reasons: { evil: 1 }, topUsers: junk })!;
    expect([read.connections, read.refused, read.reasons]).toEqual([0, 0, {}]);
    expect(read.topUsers).toHaveLength(10);
    expect(read.topUsers[0]).toEqual({ key: 'k'.repeat(512), count: 0, atMost: 0 });
    const { rows, cursor } = pageOf({ rows: junk, cursor: 'x' })!;
    expect([rows.length, cursor]).toEqual([200, undefined]);
    expect(rows[0]).toMatchObject({ id: '', user: '', age: 0, latency: undefined, compressed: false });
  });

  it('heaviest() adds counts by key', () => {
    const list = (key: string, count: number) => [{ key, count, atMost: 1 }];
    expect(heaviest([list('a', 2), list('b', 4), list('a', 3)], 1)).toEqual([{ key: 'a', count: 5, atMost: 2 }]);
  });
});

describe('Dashboard.connections', () => {
  const listed = (index: number): ListedConnection => ({
    openedAt: index + 1,
    peer: { ip: `192.0.2.${index % 250}`, userKey: index === 70_000 ? 'ada' : undefined },
    context: { path: '/chat' },
  });
  const all = Array.from({ length: 100_000 }, (_, index) => listed(index));
  const dashboard = new Dashboard(
    {
      connections: () => all,
      row: ({ openedAt }: ListedConnection) => ({ id: `${openedAt}` }),
      now: () => 0,
    } as never as DashboardSource,
    true,
  );
  const ids = (rows: readonly { id: string }[]): string[] => rows.map(({ id }) => id);

  it('continues each page after the last', () => {
    const first = dashboard.connections('', 0, 3);
    expect(ids(first.rows)).toEqual(['1', '2', '3']);
    expect(ids(dashboard.connections('', first.cursor!, 3).rows)).toEqual(['4', '5', '6']);
  });

  it('has no more rows than its limit, whatever that is', () => {
    expect(dashboard.connections('', 0, 1.5).rows.length).toBe(2);
    const { rows } = dashboard.answer({ view: 'connections', limit: 1.5 }) as { rows: unknown[] };
    expect(rows.length).toBe(2);
  });

  it('returns every connection opened within the same millisecond', () => {
    const crowd = Array.from({ length: 100 }, (_, index) => ({
      ...listed(0),
      name: index,
      openedAt: 5 + (index >> 5),
    }));
    const of = new Dashboard(
      { connections: () => crowd, row: ({ name }: { name: number }) => ({ id: `${name}` }), now: () => 0 } as never,
      true,
    );
    const found: string[] = [];
    for (let cursor: number | undefined = 0; cursor !== undefined; ) {
      const page: ReturnType<typeof of.connections> = of.connections('', cursor, 7);
      found.push(...ids(page.rows));
      // As a browser sends the cursor back.
      cursor = page.cursor === undefined ? undefined : Number(String(page.cursor));
    }
    expect(found).toEqual(crowd.map(({ name }) => `${name}`));
  });

  it('visits a bounded number of connections per page, and finds a match in the end', () => {
    let cursor: number | undefined = 0;
    const found: string[] = [];
    let pages = 0;
    while (cursor !== undefined) {
      const page: ReturnType<typeof dashboard.connections> = dashboard.connections('ADA', cursor, 50);
      found.push(...ids(page.rows));
      cursor = page.cursor;
      pages++;
    }
    expect(found).toEqual(['70001']);
    expect(pages).toBe(5);
  });
});

describe('the remarks of the dashboard', () => {
  it('describe few faults in a period, because removing values of a request from a message takes time', () => {
    const dashboard = new Dashboard({ now: () => 0 } as never as DashboardSource, true);
    const { remarks } = dashboard as unknown as { remarks: { text: string }[] };
    const now = jest.spyOn(Date, 'now').mockReturnValue(1_000_000);
    const request = { rawHeaders: [], rawQuery: 'token=canary' };
    const fail = (times: number) => {
      for (let i = 0; i < times; i++)
        dashboard.fault({ where: 'handler', error: new Error('no canary'), path: '/', request });
    };
    fail(100);
    expect(remarks.map(({ text }) => text)).toEqual(Array(5).fill('handler failed at /: Error: no …'));
    now.mockReturnValue(1_005_000);
    fail(100);
    now.mockRestore();
    expect(remarks).toHaveLength(10);
  });
});
