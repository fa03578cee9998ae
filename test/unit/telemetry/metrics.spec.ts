import { spawnSync } from 'node:child_process';
import { describe, expect, it } from '@jest/globals';
import { REFUSAL_REASONS } from '../../../lib/http/refusal.js';
import { Telemetry } from '../../../lib/telemetry/events.js';
import {
  type Figure,
  GatewayCounters,
  type GatewayGauges,
  Histogram,
  MAX_SERIES,
  MetricsCollector,
} from '../../../lib/telemetry/metrics.js';
import { prometheusText } from '../../../lib/telemetry/prometheus.js';
import { SecureWsStats } from '../../../lib/telemetry/stats.js';
import { Random } from '../../support/random.js';

const gateway = (path: string, change: Partial<GatewayCounters> = {}): GatewayGauges => ({
  path,
  connections: 1,
  counters: Object.assign(new GatewayCounters(), change),
});

function collectorOf(gateways: readonly GatewayGauges[], figures: readonly Figure[] = []): MetricsCollector {
  return new MetricsCollector({ gateways: () => gateways, figures: () => figures });
}

const seriesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));

describe('Histogram', () => {
  it('counts a value equal to a bound in that bucket, and values above the last bound separately', () => {
    const histogram = new Histogram([1, 2]);
    for (const value of [0.5, 1, 1.5, 2, 3]) histogram.observe(value);
    expect([...histogram.counts]).toEqual([2, 2, 1]);
    expect(histogram.count).toBe(5);
    expect(histogram.sum).toBe(8);
  });
});

describe('prometheusText', () => {
  it('shows counters by gateway and direction', () => {
    const text = prometheusText(collectorOf([gateway('/chat', { messagesIn: 3, bytesOut: 7 })]).collect());
    expect(seriesOf(text)).toEqual(
      expect.arrayContaining([
        'nest_secure_ws_connections{gateway="/chat"} 1',
        'nest_secure_ws_messages_total{gateway="/chat",direction="in"} 3',
        'nest_secure_ws_bytes_total{gateway="/chat",direction="out"} 7',
      ]),
    );
  });

  it('shows histograms cumulatively, in seconds', () => {
    const collector = collectorOf([gateway('/')]);
    for (const seconds of [0.004, 0.4]) collector.handlerTime('/', 'say').observe(seconds);
    const lines = seriesOf(prometheusText(collector.collect())).filter((line) => line.includes('handler_seconds'));
    expect(lines).toEqual([
      'nest_secure_ws_handler_seconds_bucket{gateway="/",event="say",le="0.001"} 0',
      'nest_secure_ws_handler_seconds_bucket{gateway="/",event="say",le="0.005"} 1',
      'nest_secure_ws_handler_seconds_bucket{gateway="/",event="say",le="0.025"} 1',
      'nest_secure_ws_handler_seconds_bucket{gateway="/",event="say",le="0.1"} 1',
      'nest_secure_ws_handler_seconds_bucket{gateway="/",event="say",le="0.5"} 2',
      'nest_secure_ws_handler_seconds_bucket{gateway="/",event="say",le="2.5"} 2',
      'nest_secure_ws_handler_seconds_bucket{gateway="/",event="say",le="+Inf"} 2',
      'nest_secure_ws_handler_seconds_sum{gateway="/",event="say"} 0.404',
      'nest_secure_ws_handler_seconds_count{gateway="/",event="say"} 2',
    ]);
  });

  it('escapes label values', () => {
    const collector = collectorOf([gateway('/a"b\\c\nd')]);
    expect(prometheusText(collector.collect())).toContain('connections{gateway="/a\\"b\\\\c\\nd"} 1');
  });

  it('stays under the series limit for any gateways, events, codes and causes', () => {
    const gateways = Array.from({ length: 50 }, (_, index) => gateway(`/gateway/${index}`, { opened: 1 }));
    const figures = Array.from(
      { length: 60 },
      (_, index): Figure => ({
        name: `figure_${index}`,
        type: 'gauge',
        help: '',
        value: 1,
      }),
    );
    const collector = collectorOf(gateways, figures);
    for (const { path } of gateways) {
      collector.upgraded(path, 1, 1);
      for (let event = 0; event < 100; event++) collector.handlerTime(path, `event-${event}`).observe(1);
    }
    for (let code = 900; code < 1100; code++)
      for (const cause of ['no pong', 'idle', 'slow reader', 'banned', 'x', `${code}`])
        collector.closed({ ip: '', path: '/', code, cause });
    const text = prometheusText(collector.collect());
    expect(seriesOf(text).length).toBeLessThanOrEqual(MAX_SERIES);
    expect(text).toContain('nest_secure_ws_opened_total{gateway="other"} 43');
    expect(text).toContain('nest_secure_ws_handler_seconds_count{gateway="other",event="other"}');
    expect(text).toContain('nest_secure_ws_closed_total{code="other",cause="other"}');
  });

  it('writes every series once when gateways share a path or have many handlers', () => {
    const gateways = ['/', '/', ...Array.from({ length: 20 }, (_, index) => `/${index}`)].map((path) =>
      gateway(path, { opened: 1 }),
    );
    const collector = collectorOf(gateways);
    for (const { path } of gateways) {
      collector.upgraded(path, 1, 1);
      for (const event of ['say', 'other']) collector.handlerTime(path, event).observe(1);
    }
    const text = prometheusText(collector.collect());
    const names = seriesOf(text).map((line) => line.slice(0, line.lastIndexOf(' ')));
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
    expect(text).toContain('nest_secure_ws_opened_total{gateway="/"} 2');
    expect(text).toContain('nest_secure_ws_handler_seconds_count{gateway="/",event="say"} 2');
    const handled = seriesOf(text)
      .filter((line) => line.includes('handler_seconds_count'))
      .reduce((total, line) => total + Number(line.split(' ').at(-1)), 0);
    expect(handled).toBe(2 * gateways.length);
  });

  it('writes the same series after 100 000 random paths, causes and codes', () => {
    const stats = new SecureWsStats();
    const collector = new MetricsCollector({ gateways: () => [gateway('/chat')], figures: () => stats.figures() });
    stats.collector = collector;
    const telemetry = new Telemetry();
    telemetry.subscribe(stats);
    const random = new Random(20_261_126);
    const next = (below: number): number => random.below(below);
    /** Values that a peer can choose: markup, line ends, names of Object.prototype, bytes, long texts. */
    const madeUp = [
      () => `/${next(1e6)}`,
      () => `/<script>${next(1e6)}</script>`,
      () => `x"}\nnest_secure_ws_evil{n="${next(1e6)}"} 1`,
      () => ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'other', ''][next(6)]!,
      () => String.fromCharCode(...Array.from({ length: 1 + next(20) }, () => next(0xffff))),
      () => 'a'.repeat(next(2000)),
    ];
    const text = (): string => madeUp[next(madeUp.length)]!();
    const attack = (times: number): void => {
      for (let time = 0; time < times; time++) {
        const [ip, path] = [`192.0.2.${next(256)}`, text()];
        const reason = REFUSAL_REASONS[next(REFUSAL_REASONS.length)]!;
        telemetry.refused({ reason, status: 400 + next(200), ip, path, detail: text() });
        telemetry.closed({ ip, path, code: next(70_000), cause: next(2) === 0 ? text() : undefined });
        telemetry.closed({ ip, path, code: 1000 + next(16), cause: next(2) === 0 ? text() : undefined });
        telemetry.opened({ ip, path, userKey: text() });
        if (next(4) === 0) telemetry.fault('handler', new Error(text()), path);
      }
    };
    const series = (): string[] =>
      seriesOf(prometheusText(collector.collect())).map((line) => line.slice(0, line.lastIndexOf(' ')));
    attack(2000);
    // Every code and cause with a series of its own, because the random values may miss some.
    for (const code of [...Array.from({ length: 16 }, (_, each) => 1000 + each), 4401])
      for (const cause of [undefined, 'made up']) telemetry.closed({ ip: '', path: '/', code, cause });
    const before = series();
    attack(100_000);
    expect(series()).toEqual(before);
    expect(before.length).toBeLessThanOrEqual(MAX_SERIES);
    expect(Object.values(stats.snapshot().refused).reduce((sum, count) => sum + count, 0)).toBe(102_000);
    expect(before.join('\n')).not.toMatch(/script|evil|aaa|__proto__/);
    // No event is lost: the counts add up.
    const closed = seriesOf(prometheusText(collector.collect()))
      .filter((line) => line.includes('closed_total'))
      .reduce((total, line) => total + Number(line.split(' ').at(-1)), 0);
    expect(closed).toBe(2 * 102_000 + 2 * 17);
  });

  it('labels known causes, and counts any other text as "other"', () => {
    const collector = collectorOf([gateway('/')]);
    for (const cause of [undefined, 'no pong', '"}\nevil 1'])
      collector.closed({ ip: '', path: '/', code: 1006, cause });
    expect(seriesOf(prometheusText(collector.collect())).filter((line) => line.includes('closed_total'))).toEqual([
      'nest_secure_ws_closed_total{code="1006",cause="none"} 1',
      'nest_secure_ws_closed_total{code="1006",cause="no pong"} 1',
      'nest_secure_ws_closed_total{code="1006",cause="other"} 1',
    ]);
  });

  it('keeps every count when causes are merged into "other"', () => {
    const collector = collectorOf([gateway('/')]);
    for (let index = 0; index < 1000; index++)
      collector.closed({ ip: '', path: '/', code: 1000 + (index % 16), cause: `cause ${index}` });
    const sum = seriesOf(prometheusText(collector.collect()))
      .filter((line) => line.includes('closed_total'))
      .reduce((total, line) => total + Number(line.split(' ').at(-1)), 0);
    expect(sum).toBe(1000);
  });

  it('passes `promtool check metrics`', () => {
    const collector = collectorOf([gateway('/chat')], [{ name: 'pending', type: 'gauge', help: 'Pending.', value: 0 }]);
    collector.refused({ reason: 'origin', status: 403, ip: '', path: undefined, detail: undefined });
    collector.closed({ ip: '', path: '/chat', code: 1000, cause: undefined });
    collector.handlerTime('/chat', 'say').observe(0.001);
    collector.ping.observe(0.012);
    const { error, status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
      input: prometheusText(collector.collect()),
      encoding: 'utf8',
    });
    if (error !== undefined) return console.warn('promtool is not installed: the format is not checked by it');
    expect(`${stdout}${stderr}`).toBe('');
    expect(status).toBe(0);
  });
});
