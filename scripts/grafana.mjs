// Writes observability/grafana.json, a dashboard for Grafana 10 and newer: node scripts/grafana.mjs
import { writeFileSync } from 'node:fs';

const P = 'nest_secure_ws_';
const WHERE = '{instance=~"$instance"}';
const rate = (name, by, where = WHERE) => `sum by (${by}) (rate(${P}${name}${where}[$__rate_interval]))`;
const quantile = (q, name, by = 'le') =>
  `histogram_quantile(${q}, sum by (${by}) (rate(${P}${name}_bucket${WHERE}[$__rate_interval])))`;

/** Title, unit, queries: expression and legend. */
const PANELS = [
  ['Connections', 'short', [[`sum by (gateway) (${P}connections${WHERE})`, '{{gateway}}']]],
  [
    'Opened and closed per second',
    'ops',
    [
      [rate('opened_total', 'gateway'), 'opened {{gateway}}'],
      [rate('closed_total', 'code, cause'), 'closed {{code}} {{cause}}'],
    ],
  ],
  ['Refused upgrades per second', 'ops', [[rate('refused_total', 'stage, reason'), '{{stage}}: {{reason}}']]],
  ['Messages per second', 'ops', [[rate('messages_total', 'gateway, direction'), '{{gateway}} {{direction}}']]],
  ['Bytes per second', 'Bps', [[rate('bytes_total', 'gateway, direction'), '{{gateway}} {{direction}}']]],
  ['Broadcast deliveries per second', 'ops', [[rate('broadcast_deliveries_total', 'gateway'), '{{gateway}}']]],
  [
    'Memory held for peers',
    'bytes',
    [
      [`sum by (kind) (${P}held_bytes${WHERE})`, '{{kind}}'],
      [`sum by (kind) (${P}budget_bytes${WHERE})`, '{{kind}} budget'],
    ],
  ],
  [
    'Waiting messages and bytes',
    'short',
    [
      [`sum(${P}queued_messages${WHERE})`, 'messages'],
      [`sum(${P}paused_connections${WHERE})`, 'paused connections'],
      [`sum(${P}slow_connections${WHERE})`, 'slow readers'],
    ],
  ],
  ['Handler time, 95th percentile', 's', [[quantile(0.95, 'handler_seconds', 'le, event'), '{{event}}']]],
  [
    'Handshake time, 95th percentile',
    's',
    [
      [quantile(0.95, 'handshake_seconds'), 'handshake'],
      [quantile(0.95, 'guard_seconds', 'le, gateway'), 'guards {{gateway}}'],
    ],
  ],
  [
    'Round trip of pings, median and 95th percentile',
    's',
    [
      [quantile(0.5, 'ping_seconds'), 'median'],
      [quantile(0.95, 'ping_seconds'), '95 %'],
    ],
  ],
  ['Event-loop delay', 's', [[`${P}event_loop_delay_seconds${WHERE}`, '{{instance}} {{quantile}}']]],
  [
    'Compression ratio',
    'percentunit',
    [
      [
        `sum by (direction) (rate(${P}compression_output_bytes_total${WHERE}[$__rate_interval])) / sum by (direction) (rate(${P}compression_input_bytes_total${WHERE}[$__rate_interval]))`,
        '{{direction}}',
      ],
    ],
  ],
  [
    'Pending handshakes, slots, bans',
    'short',
    [
      [`sum(${P}pending${WHERE})`, 'pending'],
      [`sum(${P}slots${WHERE})`, 'slots'],
      [`max(${P}bans${WHERE})`, 'bans'],
    ],
  ],
  ['Faults per second', 'ops', [[rate('faults_total', 'where'), '{{where}}']]],
  [
    'Cluster',
    'short',
    [
      [`${P}cluster_up${WHERE}`, '{{instance}} up'],
      [rate('cluster_fallback_total', 'instance'), '{{instance}} fallbacks/s'],
      [rate('cluster_gaps_total', 'instance'), '{{instance}} gaps/s'],
    ],
  ],
];

const datasource = { type: 'prometheus', uid: ['$', '{datasource}'].join('') };

export function grafanaDashboard() {
  const panels = PANELS.map(([title, unit, queries], index) => ({
    id: index + 1,
    type: 'timeseries',
    title,
    datasource,
    gridPos: { h: 8, w: 8, x: (index % 3) * 8, y: Math.floor(index / 3) * 8 },
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi' } },
    targets: queries.map(([expr, legendFormat], at) => ({
      refId: String.fromCharCode(65 + at),
      datasource,
      expr,
      legendFormat,
    })),
  }));
  const variable = (extra) => ({ hide: 0, includeAll: false, multi: false, ...extra });
  return {
    title: 'nest-secure-ws',
    uid: 'nest-secure-ws',
    schemaVersion: 39,
    version: 1,
    tags: ['nestjs', 'websocket'],
    time: { from: 'now-1h', to: 'now' },
    refresh: '10s',
    templating: {
      list: [
        variable({ name: 'datasource', type: 'datasource', query: 'prometheus' }),
        variable({
          name: 'instance',
          type: 'query',
          datasource,
          query: `label_values(${P}pending, instance)`,
          includeAll: true,
          multi: true,
          refresh: 2,
          current: { text: 'All', value: '$__all' },
        }),
      ],
    },
    panels,
  };
}

if (process.argv[1] === import.meta.filename)
  writeFileSync('observability/grafana.json', `${JSON.stringify(grafanaDashboard(), undefined, 2)}\n`);
