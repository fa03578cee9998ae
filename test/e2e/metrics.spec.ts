import { afterEach, describe, expect, it } from '@jest/globals';
import { type CanActivate, Controller, Get, type NestInterceptor } from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { MessageBody, SubscribeMessage } from '@nestjs/websockets';
import { metrics } from '@opentelemetry/api';
import {
  AggregationTemporality,
  type DataPoint,
  type Histogram,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { SecureGateway, SecureWsHealthIndicator, SecureWsMetricsModule, SecureWsStats } from 'nest-secure-ws';
import { MemoryCluster } from 'nest-secure-ws/testing';
import { map } from 'rxjs';
import { WebSocket } from 'ws';
import { eventually, PLATFORMS, startApp, type TestApp } from '../support/app.js';
import { frame, RawClient } from '../support/raw-client.js';

@SecureGateway({ path: '/chat' })
class ChatGateway {
  @SubscribeMessage('say') say(@MessageBody() data: unknown) {
    if (data === 'fail') throw new Error('failed');
    return { event: 'say', data };
  }
}

const OnlyScrapers: CanActivate = {
  canActivate: (context) => context.switchToHttp().getRequest().headers['x-scraper'] === 'yes',
};

/** An interceptor that many applications apply to every response. */
const Wrapping: NestInterceptor = { intercept: (_, next) => next.handle().pipe(map((data) => ({ data }))) };

@Controller('health')
class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly webSockets: SecureWsHealthIndicator,
  ) {}

  @Get()
  @HealthCheck()
  check() {
    return this.health.check([() => this.webSockets.check()]);
  }
}

let running: TestApp | undefined;
let provider: MeterProvider | undefined;
afterEach(async () => {
  await running?.close();
  running = undefined;
  metrics.disable();
  await provider?.shutdown();
  provider = undefined;
});

/** Connects, sends a message, awaits the reply, and leaves. */
async function talk(port: number, path = '/chat'): Promise<void> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  socket.send(JSON.stringify({ event: 'say', data: 'hello' }));
  await new Promise((resolve) => socket.once('message', resolve));
  socket.close(1000);
  await new Promise((resolve) => socket.once('close', resolve));
}

/** The response and its text: a body that is not read keeps its connection, and this process, open. */
async function scrape(port: number, sent: Record<string, string> = {}) {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`, { headers: sent });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

describe.each(PLATFORMS)('SecureWsMetricsModule on %s', (platform) => {
  it("serves the text exposition unchanged by the application's interceptors", async () => {
    running = await startApp({
      platform,
      gateways: [ChatGateway],
      metadata: {
        imports: [SecureWsMetricsModule.forRoot()],
        providers: [{ provide: APP_INTERCEPTOR, useValue: Wrapping }],
      },
    });
    await talk(running.port);
    await talk(running.port, '/nobody').catch(() => undefined);
    const response = await scrape(running.port);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const { text } = response;
    expect(text).toContain('\nnest_secure_ws_opened_total{gateway="/chat"} 1\n');
    expect(text).toContain('\nnest_secure_ws_messages_total{gateway="/chat",direction="in"} 1\n');
    expect(text).toContain('\nnest_secure_ws_messages_total{gateway="/chat",direction="out"} 1\n');
    expect(text).toContain('\nnest_secure_ws_refused_total{stage="route",reason="path"} 1\n');
    expect(text).toContain('\nnest_secure_ws_handler_seconds_count{gateway="/chat",event="say"} 1\n');
    expect(text).toMatch(/\nnest_secure_ws_handshake_seconds_count 1\n/);
  });

  it('has the same series for any paths, events and close codes that peers invent', async () => {
    running = await startApp({
      platform,
      gateways: [ChatGateway],
      options: { connections: { rate: '100000/1s' } },
      metadata: { imports: [SecureWsMetricsModule.forRoot()] },
    });
    const { port } = running;
    const attack = async (seed: number, code: number): Promise<void> => {
      const lost = new WebSocket(`ws://127.0.0.1:${port}/<b>${seed}?${seed}`).on('error', () => undefined);
      await new Promise((resolve) => lost.once('close', resolve));
      const client = await RawClient.open({ port }, { path: '/chat' });
      client.write(frame(JSON.stringify({ event: `"} evil${seed}`, data: seed })));
      client.write(frame(Buffer.from([code >> 8, code & 255]), { opcode: 8 }));
      await client.untilClosed();
      client.destroy();
    };
    const series = async (): Promise<string[]> =>
      (await scrape(port)).text.split('\n').map((line) => line.replace(/ [^ ]+$/, ''));
    await talk(port);
    for (const code of [1000, 999, 4000]) await attack(0, code);
    const before = await series();
    for (let seed = 1; seed <= 100; seed++) await attack(seed, [1000, 1 + seed, 3000 + seed * 17][seed % 3]!);
    expect(await series()).toEqual(before);
    expect(before.join('\n')).not.toMatch(/evil|<b>/);
  });

  it('runs its guards, and answers 404 when path is null', async () => {
    running = await startApp({
      platform,
      gateways: [ChatGateway],
      metadata: { imports: [SecureWsMetricsModule.forRoot({ guards: [OnlyScrapers] })] },
    });
    expect((await scrape(running.port)).status).toBe(403);
    expect((await scrape(running.port, { 'x-scraper': 'yes' })).status).toBe(200);
    await running.close();
    running = await startApp({ platform, metadata: { imports: [SecureWsMetricsModule.forRoot({ path: null })] } });
    expect((await scrape(running.port)).status).toBe(404);
  });

  it('reports its health to terminus', async () => {
    running = await startApp({
      platform,
      gateways: [ChatGateway],
      metadata: {
        imports: [TerminusModule.forRoot({ logger: false })],
        controllers: [HealthController],
        providers: [SecureWsHealthIndicator],
      },
    });
    const health = async () => {
      const response = await fetch(`http://127.0.0.1:${running!.port}/health`);
      return {
        status: response.status,
        details: ((await response.json()) as { details: { websockets: unknown } }).details.websockets,
      };
    };
    expect(await health()).toEqual({ status: 200, details: { status: 'up', state: 'up', reasons: [] } });
    const stats = running.app.get(SecureWsStats);
    const { gauges } = stats;
    stats.gauges = () => ({ ...gauges(), budgets: [{ kind: 'buffers', held: 95, limit: 100 }] });
    expect((await health()).details).toEqual({
      status: 'up',
      state: 'degraded',
      reasons: ['buffers: 95 of 100 bytes are held'],
    });
    stats.gauges = () => ({ ...gauges(), draining: true });
    expect(await health()).toMatchObject({ status: 503, details: { status: 'down', state: 'down' } });
  });
});

const reportedTo = (exporter: InMemoryMetricExporter) =>
  new Map(
    exporter
      .getMetrics()
      .at(-1)!
      .scopeMetrics.flatMap((scope) => scope.metrics)
      .map(({ descriptor, dataPoints }) => [descriptor.name, dataPoints as DataPoint<number | Histogram>[]]),
  );

describe('the close causes in the metrics', () => {
  it('say what the peer sent wrong', async () => {
    running = await startApp({
      gateways: [ChatGateway],
      options: { messages: { maxSize: 1000, maxFragments: 2 } },
      metadata: { imports: [SecureWsMetricsModule.forRoot()] },
    });
    const piece = frame('x', { fin: false });
    const next = frame('x', { fin: false, opcode: 0 });
    for (const bytes of [
      frame('', { opcode: 11 }),
      frame(Buffer.from([0xff])),
      frame('', { length: 1001 }),
      Buffer.concat([piece, next, next]),
    ]) {
      const client = await RawClient.open({ port: running.port }, { path: '/chat' });
      client.write(bytes);
      await client.untilClosed();
      client.destroy();
    }
    await eventually(() => running!.stats().connections === 0);
    const { text } = await scrape(running.port);
    const lines = text.split('\n').filter((line) => line.includes('closed_total{'));
    expect(lines.sort()).toEqual([
      'nest_secure_ws_closed_total{code="1002",cause="invalid frame"} 1',
      'nest_secure_ws_closed_total{code="1007",cause="invalid frame"} 1',
      'nest_secure_ws_closed_total{code="1008",cause="too many message fragments"} 1',
      'nest_secure_ws_closed_total{code="1009",cause="message too big"} 1',
    ]);
  });
});

describe('OpenTelemetry', () => {
  it('receives the same figures', async () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    provider = new MeterProvider({
      readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 30 })],
    });
    metrics.setGlobalMeterProvider(provider);
    running = await startApp({ gateways: [ChatGateway], metadata: { imports: [SecureWsMetricsModule.forRoot()] } });
    await talk(running.port);
    await talk(running.port);
    await provider.forceFlush();
    const points = reportedTo(exporter);
    expect(points.get('nest_secure_ws_opened_total')).toMatchObject([{ attributes: { gateway: '/chat' }, value: 2 }]);
    expect(points.get('nest_secure_ws_handler_seconds')).toMatchObject([
      { attributes: { gateway: '/chat', event: 'say' }, value: { count: 2 } },
    ]);
    expect(points.get('nest_secure_ws_closed_total')).toMatchObject([{ attributes: { code: '1000' }, value: 2 }]);
  });

  it('receives every metric that Prometheus receives, including later changes', async () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    provider = new MeterProvider({
      readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 30 })],
    });
    metrics.setGlobalMeterProvider(provider);
    const cluster = new MemoryCluster();
    running = await startApp({
      gateways: [ChatGateway],
      options: { cluster: { store: cluster.store(), bus: cluster.bus() } },
      metadata: { imports: [SecureWsMetricsModule.forRoot()] },
    });
    await talk(running.port);
    await talk(running.port, '/nobody').catch(() => undefined);
    const client = await RawClient.open({ port: running.port }, { path: '/chat' });
    client.write(frame(JSON.stringify({ event: 'say', data: 'fail' })));
    await client.frame();
    client.destroy();
    await eventually(() => running!.stats().connections === 0);
    await provider.forceFlush();
    const points = reportedTo(exporter);
    const { text } = await scrape(running.port);
    const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    const names = new Set(samples.map((line) => line.replace(/(_bucket|_sum|_count)?[{ ].*/, '')));
    for (const name of ['faults_total', 'cluster_up', 'refused_total'])
      expect(names).toContain(`nest_secure_ws_${name}`);
    // Histograms appear with their first value: no ping has been answered.
    const silent = ['nest_secure_ws_ping_seconds'];
    expect([...points.keys(), ...silent]).toEqual(expect.arrayContaining([...names]));
    const faults = points.get('nest_secure_ws_faults_total')!;
    expect(faults.find(({ attributes }) => attributes['where'] === 'handler')?.value).toBe(1);
  });
});
