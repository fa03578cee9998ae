import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, SecureWsMetricsModule } from 'nest-secure-ws';
import { WebSocket } from 'ws';
import { startApp, type TestApp } from './support/app.js';
import { has } from './support/programs.js';

// @ts-expect-error a script without types
const { grafanaDashboard } = (await import('../scripts/grafana.mjs')) as { grafanaDashboard: () => unknown };

@SecureGateway({ path: '/chat' })
class ChatGateway {
  @SubscribeMessage('say') say() {
    return { event: 'said' };
  }
}

const ALERTS = readFileSync('observability/alerts.yml', 'utf8');
const GRAFANA = readFileSync('observability/grafana.json', 'utf8');
/** Metrics that exist only in a cluster. */
const CLUSTER = /^nest_secure_ws_cluster_/;

/** The metric names in a text of queries, without the suffixes of histogram series. */
const namesIn = (text: string): string[] => [
  ...new Set([...text.matchAll(/nest_secure_ws_[a-z_]+/g)].map(([name]) => name.replace(/_(?:bucket|sum|count)$/, ''))),
];

let app: TestApp;
let text: string;
beforeAll(async () => {
  app = await startApp({ gateways: [ChatGateway], metadata: { imports: [SecureWsMetricsModule.forRoot()] } });
  const socket = new WebSocket(`ws://127.0.0.1:${app.port}/chat`);
  await once(socket, 'open');
  socket.send('{"event":"say"}');
  await once(socket, 'message');
  socket.close();
  await once(socket, 'close');
  text = await (await fetch(`http://127.0.0.1:${app.port}/metrics`)).text();
});
afterAll(async () => {
  await app.close();
});

describe('docs/observability.md', () => {
  it('names exactly the served metrics', () => {
    const [, table = ''] = /\n\| metric [^\n]*\n(.*?)\n## /s.exec(readFileSync('docs/observability.md', 'utf8')) ?? [];
    const documented = [...table.matchAll(/^\| ([^|]+) \|/gm)].flatMap(([, cell = '']) =>
      [...cell.matchAll(/`([a-z_]+)`/g)].map(([, name]) => name!),
    );
    const served = [...text.matchAll(/^# TYPE nest_secure_ws_(\S+)/gm)].map(([, name]) => name!);
    expect(served.filter((name) => !documented.includes(name))).toEqual([]);
    const conditional = documented.filter((name) => !served.includes(name) && !name.startsWith('cluster_'));
    expect(conditional).toEqual([]);
    expect(served.length).toBeGreaterThan(10);
  });
});

describe.each([
  ['the alert rules', ALERTS],
  ['the Grafana dashboard', GRAFANA],
])('%s', (_, file) => {
  it('names only metrics that exist', () => {
    const known = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
    const unknown = namesIn(file).filter((name) => !known.has(name) && !CLUSTER.test(name));
    expect(unknown).toEqual([]);
    expect(namesIn(file).length).toBeGreaterThan(5);
  });
});

it('observability/grafana.json is up to date with scripts/grafana.mjs', () => {
  expect(JSON.parse(GRAFANA)).toEqual(grafanaDashboard());
});

(has('promtool') ? it : it.skip)('promtool accepts the alert rules', () => {
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'rules', 'observability/alerts.yml'], {
    encoding: 'utf8',
  });
  expect({ status, output: status === 0 ? '' : stdout + stderr }).toEqual({ status: 0, output: '' });
});

(has('prometheus') ? describe : describe.skip)('a real Prometheus', () => {
  let prometheus: ChildProcess;
  let url: string;
  const folder = mkdtempSync(join(tmpdir(), 'prometheus-'));

  beforeAll(async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    server.close();
    writeFileSync(join(folder, 'alerts.yml'), ALERTS);
    writeFileSync(
      join(folder, 'prometheus.yml'),
      `global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [alerts.yml]
scrape_configs:
  - job_name: app
    static_configs: [{ targets: ['127.0.0.1:${app.port}'] }]
`,
    );
    url = `http://127.0.0.1:${port}`;
    prometheus = spawn(
      'prometheus',
      [
        `--config.file=${folder}/prometheus.yml`,
        `--storage.tsdb.path=${folder}/data`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      { stdio: 'ignore' },
    );
  });
  afterAll(async () => {
    prometheus.kill('SIGKILL');
    await once(prometheus, 'exit');
    rmSync(folder, { recursive: true, force: true });
  });

  const ask = async (path: string): Promise<{ data: Record<string, unknown[]> }> =>
    (await (await fetch(`${url}/api/v1/${path}`)).json()) as { data: Record<string, unknown[]> };

  /** Polls until there is a result; Prometheus takes time to start and to scrape. */
  async function until<T>(what: () => Promise<T | undefined>): Promise<T> {
    const end = Date.now() + 25_000;
    for (;;) {
      const found = await what().catch(() => undefined);
      if (found !== undefined) return found;
      if (Date.now() > end) throw new Error('Prometheus did not answer in time');
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }

  it('scrapes the metrics, answers every query of the dashboard, and loads every alert', async () => {
    const opened = await until(async () => {
      const { data } = await ask('query?query=nest_secure_ws_opened_total');
      return data['result']?.[0] as { metric: { gateway: string }; value: [number, string] } | undefined;
    });
    expect(opened).toMatchObject({ metric: { gateway: '/chat' }, value: [expect.any(Number), '1'] });
    const { panels } = JSON.parse(GRAFANA) as { panels: { targets: { expr: string }[] }[] };
    for (const { expr } of panels.flatMap(({ targets }) => targets)) {
      const query = expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*');
      const answer = await ask(`query?query=${encodeURIComponent(query)}`);
      expect({ query, answer }).toMatchObject({ query, answer: { status: 'success' } });
    }
    const { data } = await ask('rules');
    const [group] = data['groups'] as { rules: { health: string; lastError?: string }[] }[];
    expect(group!.rules.length).toBe(ALERTS.match(/- alert:/g)!.length);
    expect(group!.rules.filter(({ health }) => health === 'err')).toEqual([]);
  });
});
