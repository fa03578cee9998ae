import diagnostics_channel from 'node:diagnostics_channel';
import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { SecureWsStats } from 'nest-secure-ws';
import { UntrustedProxyDetector } from '../../../lib/admission/untrusted-proxy-detector.js';
import type { ClientRoute } from '../../../lib/http/forwarding.js';
import { parseAddress } from '../../../lib/net/address.js';
import { Telemetry } from '../../../lib/telemetry/events.js';
import { line, SampledLog } from '../../../lib/telemetry/log.js';

const refused = (reason: 'path' | 'rate') =>
  ({ reason, status: 404, ip: '192.0.2.1', path: '/x', detail: undefined }) as never;

describe('Telemetry', () => {
  it('publishes every event on diagnostics_channel as to subscribers', () => {
    const told: Record<string, unknown[]> = {};
    const heard: Record<string, unknown[]> = {};
    const kinds = ['refused', 'opened', 'closed', 'fault', 'notice'] as const;
    const listeners = kinds.map((kind) => {
      const listener = (event: unknown) => void (told[kind] ??= []).push(event);
      diagnostics_channel.subscribe(`nest-secure-ws:${kind}`, listener);
      return () => diagnostics_channel.unsubscribe(`nest-secure-ws:${kind}`, listener);
    });
    const telemetry = new Telemetry();
    telemetry.subscribe(
      Object.fromEntries(kinds.map((kind) => [kind, (event: unknown) => void (heard[kind] ??= []).push(event)])),
    );
    const error = new Error('x');
    telemetry.refused(refused('path'));
    telemetry.opened({ ip: '192.0.2.1', path: '/' });
    telemetry.closed({ ip: '192.0.2.1', path: '/', code: 1000, cause: undefined });
    telemetry.fault('socket', error);
    telemetry.notice('look');
    for (const stop of listeners) stop();
    telemetry.notice('nobody listens any more');
    expect(told['notice']).toEqual([{ message: 'look' }]);
    expect(told['fault']).toEqual([{ where: 'socket', error, path: undefined }]);
    expect(told['closed']).toEqual([{ ip: '192.0.2.1', path: '/', code: 1000, cause: undefined }]);
    expect({ ...told, notice: heard['notice'] }).toEqual(heard);
  });

  it('publishes values of the request for subscribers that ask for them, not for those that print the event', () => {
    const heard: unknown[] = [];
    const telemetry = new Telemetry();
    telemetry.subscribe({ fault: (event) => void heard.push(event) });
    const request = { rawHeaders: ['Cookie', 'sid=canary'], rawQuery: 'token=canary' };
    telemetry.fault('guard', undefined, '/', request);
    const [event] = heard as [{ request: unknown }];
    expect(event.request).toBe(request);
    expect(inspect(event) + JSON.stringify(event) + inspect({ ...event })).not.toContain('canary');
  });

  it('counts close codes that peers invent as one', () => {
    const stats = new SecureWsStats();
    for (const code of [1000, 1000, 1015, 1016, 4401, 4402, 999, 3000])
      stats.closed({ ip: '', path: '/', code, cause: undefined });
    expect(stats.snapshot().closed).toEqual({ '1000': 2, '1015': 1, '4401': 1, other: 4 });
    expect(stats.snapshot()).toMatchObject({ connections: 0, slots: 0, heldBytes: 0 });
    expect(() => stats.settings()).toThrow('is not provided by a SecureWsModule');
  });
});

describe('SampledLog', () => {
  const logged = () => {
    const lines: string[] = [];
    const write = (message: string) => void lines.push(message);
    const clock = { now: 0 };
    return { lines, clock, log: new SampledLog({ warn: write, error: write }, () => clock.now) };
  };

  it('writes the first five lines of each reason and path, then one per ten seconds with the number omitted', () => {
    const { lines, clock, log } = logged();
    for (let i = 0; i < 8; i++) log.refused(refused('rate'));
    expect(lines).toEqual(Array(5).fill('refused 404 rate ip=192.0.2.1 path=/x'));
    log.refused({ ...(refused('rate') as object), path: '/y' } as never);
    expect(lines[5]).toBe('refused 404 rate ip=192.0.2.1 path=/y');
    clock.now = 9_999;
    log.refused(refused('rate'));
    expect(lines).toHaveLength(6);
    clock.now = 10_000;
    log.refused(refused('rate'));
    expect(lines[6]).toBe('refused 404 rate ip=192.0.2.1 path=/x (and 4 more like it)');
    clock.now = 20_000;
    log.refused(refused('rate'));
    expect(lines[7]).toBe('refused 404 rate ip=192.0.2.1 path=/x');
    log.fault({ where: 'guard', error: new Error('its refusal says it'), path: '/x' });
    expect(lines).toHaveLength(8);
    clock.now = 200_000;
    for (let i = 0; i < 8; i++) log.refused(refused('rate'));
    expect(lines).toHaveLength(13);
  });

  it('writes one line for each of five different handler errors', () => {
    const { lines, log } = logged();
    for (let i = 0; i < 5; i++) log.fault({ where: 'handler', error: new Error(`number ${i}`), path: '/x' });
    expect(lines.map((each) => /number \d/.exec(each)?.[0])).toEqual([0, 1, 2, 3, 4].map((i) => `number ${i}`));
  });

  it('is bounded for any number of requested paths', () => {
    const { lines, clock, log } = logged();
    const path = (name: string) => ({ ...(refused('rate') as object), path: name }) as never;
    for (let i = 0; i < 100_000; i++) log.refused(path(`/${i}`));
    expect(lines.length).toBeLessThanOrEqual(262);
    const { samples } = log as unknown as { samples: Map<string, Map<string, unknown>> };
    const kept = [...samples.values()].reduce((sum, each) => sum + each.size, 0);
    expect(kept).toBeGreaterThan(200);
    expect(kept).toBeLessThanOrEqual(257);
    for (let i = 0; i < 100; i++) log.refused({ ...(refused('path') as object), path: `/${i}` } as never);
    expect(lines.filter((each) => each.startsWith('refused 404 path'))).toHaveLength(5);
    clock.now = 200_000;
    log.refused(path('/new'));
    expect(lines.at(-1)).toContain('path=/new');
  });

  it('catches the error of a logger that throws', () => {
    const log = new SampledLog(
      {
        warn: () => {
          throw new Error('full disk');
        },
        error: () => undefined,
      },
      () => 0,
    );
    expect(() => log.refused(refused('rate'))).not.toThrow();
  });

  it('limits a line to 1 KiB without line breaks or escapes', () => {
    expect(line('a\nb\u2028c\x1b[31m')).toBe('a\\u000ab\\u2028c\\u001b[31m');
    for (const text of ['é'.repeat(2000), '\n'.repeat(2000), '🙂'.repeat(900)])
      expect(Buffer.byteLength(line(text))).toBeLessThanOrEqual(1024);
  });
});

describe('UntrustedProxyDetector', () => {
  const route = (text: string) => ({ address: parseAddress(text)!, viaProxy: false }) as ClientRoute;
  function hints(): { hints: UntrustedProxyDetector; notices: string[] } {
    const telemetry = new Telemetry();
    const notices: string[] = [];
    telemetry.subscribe({ notice: ({ message }) => void notices.push(message) });
    return { hints: new UntrustedProxyDetector(telemetry), notices };
  }

  it('warns once about a private address that sends forwarding headers', () => {
    const { hints: each, notices } = hints();
    each.onStrayHeaders(route('198.51.100.7'));
    expect(notices).toEqual([]);
    each.onStrayHeaders(route('10.0.0.7'));
    each.onStrayHeaders(route('10.0.0.8'));
    for (let i = 0; i < 200; i++) each.onRefused(route('198.51.100.7'));
    expect(notices).toHaveLength(1);
    expect(notices[0]).toContain('WEBSOCKETS_TRUSTED_PROXIES=10.0.0.7');
  });

  it('warns once about an address that accounts for most of the refusals', () => {
    const { hints: each, notices } = hints();
    for (let i = 0; i < 300; i++) each.onRefused(route(`203.0.113.${i % 250}`));
    expect(notices).toEqual([]);
    for (let i = 0; i < 400; i++) each.onRefused(route(i % 3 === 0 ? `203.0.113.${i % 250}` : '198.51.100.7'));
    expect(notices).toHaveLength(1);
    expect(notices[0]).toContain('198.51.100.7 sends forwarding headers');
  });
});
