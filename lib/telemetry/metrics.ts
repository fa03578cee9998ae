import type { RefusalReason } from '../http/refusal.js';
import type { ClosedEvent, RefusedEvent } from './events.js';

/** Maximum number of series of a scrape, whatever the number of gateways, events, codes and causes. */
export const MAX_SERIES = 400;

/** Upper bounds of latency buckets in seconds. There are few, because each bucket is a series for every label. */
export const LATENCY_BOUNDS = Object.freeze([0.001, 0.005, 0.025, 0.1, 0.5, 2.5]);

/** Number of series of a histogram: its buckets, `+Inf`, the sum and the count. */
const HISTOGRAM_SERIES = LATENCY_BOUNDS.length + 3;
/** Maximum number of combinations of close code and cause; the rest is counted as `other`. */
const MAX_CLOSE_COMBINATIONS = 40;
/** Maximum number of gateways with labels of their own; the rest is counted as `other`. */
const MAX_GATEWAYS = 8;
const OTHER = 'other';

/** A histogram with fixed bounds. Observing a value allocates nothing. */
export class Histogram {
  /** One count for each bound, and one for values above the last. Not cumulative. */
  readonly counts: Float64Array;
  sum = 0;
  /** Also receives every value: an OpenTelemetry histogram, if there is one. */
  mirror: ((value: number) => void) | undefined = undefined;

  constructor(readonly bounds: readonly number[] = LATENCY_BOUNDS) {
    this.counts = new Float64Array(bounds.length + 1);
  }

  /** Records a value in the unit of the bounds: seconds for latencies. */
  observe(value: number): void {
    const { bounds, counts } = this;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
    counts[bucket]!++;
    this.sum += value;
    this.mirror?.(value);
  }

  get count(): number {
    return this.counts.reduce((total, each) => total + each, 0);
  }
}

/** Counters of one gateway path. They are plain numbers, so that counting is one addition. */
export class GatewayCounters {
  opened = 0;
  messagesIn = 0;
  messagesOut = 0;
  /** Payload bytes, after inflating and before deflating. */
  bytesIn = 0;
  bytesOut = 0;
  /** Messages that broadcasts handed to peers. */
  deliveries = 0;
  /** Compressed messages received: their bytes before and after inflating. */
  compressedIn = 0;
  inflatedIn = 0;
  /** Compressed messages sent: their bytes before and after deflating. */
  plainOut = 0;
  compressedOut = 0;
  /** Round-trip times of pings in seconds, if metrics are enabled. */
  ping: Histogram | undefined = undefined;
}

/** The counters that are plain numbers. */
type Count = Exclude<keyof GatewayCounters, 'ping'>;

export interface Labels {
  readonly [name: string]: string;
}

/** One series: its labels and its value now. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** One histogram and its labels. */
export interface HistogramSample {
  readonly labels: Labels;
  readonly histogram: Histogram;
}

/** A metric with all its series, in a form for Prometheus and OpenTelemetry. */
export type Family = { readonly name: string; readonly help: string } & (
  | { readonly type: 'counter' | 'gauge'; readonly samples: readonly Sample[] }
  | { readonly type: 'histogram'; readonly samples: readonly HistogramSample[] }
);

const COUNTS: readonly Count[] = (Object.keys(new GatewayCounters()) as (keyof GatewayCounters)[]).filter(
  (key): key is Count => key !== 'ping',
);

/** Current values of a gateway. */
export interface GatewayGauges {
  readonly path: string;
  readonly connections: number;
  readonly counters: GatewayCounters;
}

/** Values that are read at the time of a scrape. */
export interface MetricsSource {
  /** @internal */ gateways(): Iterable<GatewayGauges>;
  /** @internal Current figures without labels, by the name of their metric without its prefix. */
  figures(): readonly Figure[];
}

/** A current value or a running total of some part of the module. */
export interface Figure {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly labels?: Labels;
  readonly value: number;
}

/** The stage of the upgrade for each refusal reason, which is a closed set. */
const STAGES: Readonly<Record<RefusalReason, string>> = Object.freeze({
  'address-denied': 'accept',
  banned: 'accept',
  'pending-full': 'accept',
  'proxy-protocol': 'accept',
  'request-line-too-long': 'head',
  'header-line-too-long': 'head',
  'too-many-headers': 'head',
  'malformed-head': 'head',
  'open-timeout': 'head',
  'connection-rate': 'peer',
  method: 'request',
  'http-version': 'request',
  'malformed-request': 'request',
  'not-an-upgrade': 'request',
  'websocket-version': 'request',
  pipelined: 'request',
  path: 'route',
  'tls-required': 'transport',
  host: 'transport',
  origin: 'transport',
  connections: 'capacity',
  'connections-per-ip': 'capacity',
  'connections-per-gateway': 'capacity',
  'buffer-budget': 'capacity',
  guard: 'guards',
  'guard-failed': 'guards',
  'guard-timeout': 'guards',
  'connections-per-user': 'user',
  'cluster-unavailable': 'capacity',
  'user-key-missing': 'user',
  shutdown: 'accept',
});

/**
 * Collects metrics for Prometheus and OpenTelemetry. Every label comes from a closed set: configured gateways and
 * events, and this module's reasons and causes. Values that a peer sends never become labels.
 */
export class MetricsCollector {
  private readonly refusedBy = new Map<RefusalReason, number>();
  private readonly closedBy = new Map<string, { readonly code: string; readonly cause: string; count: number }>();
  private readonly handshake = new Histogram();
  readonly ping = new Histogram();
  /** How long upgrades waited for the cluster. */
  readonly cluster = new Histogram();
  private readonly guards = new Map<string, Histogram>();
  private readonly handlers = new Map<string, { readonly labels: Labels; readonly histogram: Histogram }>();
  /** Called with each new histogram, so that it can be mirrored. */
  onHistogram: ((name: string, sample: HistogramSample) => void) | undefined = undefined;

  constructor(private readonly source: MetricsSource) {}

  refused({ reason }: RefusedEvent): void {
    this.refusedBy.set(reason, (this.refusedBy.get(reason) ?? 0) + 1);
  }

  /** Records an accepted upgrade. `guardTime`: total time of its asynchronous guards. Both in milliseconds. */
  upgraded(path: string, handshakeTime: number, guardTime: number): void {
    this.handshake.observe(handshakeTime / 1000);
    if (guardTime > 0) this.guardHistogram(path).observe(guardTime / 1000);
  }

  closed({ code, cause }: ClosedEvent): void {
    const entry = this.closeEntry(codeLabel(code), causeLabel(cause));
    entry.count++;
  }

  /** Records the time in seconds until the handler of a configured event has settled. */
  handlerTime(path: string, event: unknown): Histogram {
    return this.handlerHistogram(path, typeof event === 'string' ? event : (JSON.stringify(event) ?? OTHER));
  }

  /** All metrics with their series. */
  collect(): Family[] {
    const gateways = this.gateways();
    return [
      ...families(this.source.figures()),
      gauge('connections', 'Live connections.', gateways, ({ connections }) => connections),
      counter('opened_total', 'Connections opened.', gateways, ({ counters }) => counters.opened),
      this.closedFamily(),
      this.refusedFamily(),
      directions('messages_total', 'Messages.', gateways, 'messagesIn', 'messagesOut'),
      directions('bytes_total', 'Payload bytes of messages, uncompressed.', gateways, 'bytesIn', 'bytesOut'),
      counter(
        'broadcast_deliveries_total',
        'Messages that broadcasts handed to peers.',
        gateways,
        ({ counters }) => counters.deliveries,
      ),
      compressed(
        'compression_input_bytes_total',
        'Bytes before compression or inflation.',
        gateways,
        'compressedIn',
        'plainOut',
      ),
      compressed(
        'compression_output_bytes_total',
        'Bytes after compression or inflation.',
        gateways,
        'inflatedIn',
        'compressedOut',
      ),
      histogramFamily('handshake_seconds', 'From TCP accept to the 101.', [{ labels: {}, histogram: this.handshake }]),
      histogramFamily('ping_seconds', 'From a ping to its pong.', [{ labels: {}, histogram: this.ping }]),
      histogramFamily('cluster_seconds', 'How long an upgrade waited for the cluster.', [
        { labels: {}, histogram: this.cluster },
      ]),
      histogramFamily(
        'guard_seconds',
        'Asynchronous admission guards of one upgrade, together.',
        [...this.guards].map(([gateway, histogram]) => ({ labels: { gateway }, histogram })),
      ),
      histogramFamily('handler_seconds', 'From a message until its handler has settled.', [...this.handlers.values()]),
    ];
  }

  private gateways(): GatewayGauges[] {
    const byPath = new Map<string, GatewayGauges>();
    for (const each of this.source.gateways()) {
      // The same path at two ports is one series: Prometheus refuses a scrape that contains a series twice.
      const known = byPath.get(each.path);
      byPath.set(each.path, known === undefined ? each : together(each.path, [known, each]));
    }
    const all = [...byPath.values()];
    if (all.length <= MAX_GATEWAYS) return all;
    return [...all.slice(0, MAX_GATEWAYS - 1), together(OTHER, all.slice(MAX_GATEWAYS - 1))];
  }

  private gatewayLabel(path: string): string {
    return this.gateways().some((each) => each.path === path) ? path : OTHER;
  }

  private guardHistogram(path: string): Histogram {
    const known = this.guards.get(path);
    if (known !== undefined) return known;
    const label = this.gatewayLabel(path);
    let histogram = this.guards.get(label);
    if (histogram === undefined) {
      this.guards.set(label, (histogram = new Histogram()));
      this.onHistogram?.('guard_seconds', { labels: { gateway: label }, histogram });
    }
    return histogram;
  }

  private handlerHistogram(path: string, event: string): Histogram {
    const gateway = this.gatewayLabel(path);
    const known = this.handlers.get(`${gateway}\n${event}`);
    if (known !== undefined) return known.histogram;
    const isFull = this.handlers.size >= maxHandlers(this.gateways().length) - 1;
    const labels = isFull ? { gateway: OTHER, event: OTHER } : { gateway, event };
    const key = `${labels.gateway}\n${labels.event}`;
    let entry = this.handlers.get(key);
    if (entry === undefined) {
      this.handlers.set(key, (entry = { labels, histogram: new Histogram() }));
      this.onHistogram?.('handler_seconds', entry);
    }
    return entry.histogram;
  }

  private closeEntry(code: string, cause: string): { count: number } {
    const key = `${code}\n${cause}`;
    const known = this.closedBy.get(key);
    if (known !== undefined) return known;
    const isFull = this.closedBy.size >= MAX_CLOSE_COMBINATIONS - 1;
    const entry = isFull ? { code: OTHER, cause: OTHER, count: 0 } : { code, cause, count: 0 };
    const existing = isFull ? this.closedBy.get(OTHER) : undefined;
    if (existing !== undefined) return existing;
    this.closedBy.set(isFull ? OTHER : key, entry);
    return entry;
  }

  private closedFamily(): Family {
    const samples = [...this.closedBy.values()].map(({ code, cause, count }) => ({
      labels: { code, cause },
      value: count,
    }));
    return { name: 'closed_total', help: 'Connections that have ended.', type: 'counter', samples };
  }

  private refusedFamily(): Family {
    const samples = [...this.refusedBy].map(([reason, value]) => ({
      labels: { stage: STAGES[reason], reason },
      value,
    }));
    return { name: 'refused_total', help: 'Upgrades that were refused.', type: 'counter', samples };
  }
}

/** Maximum number of series of all metrics other than those of gateways and handlers. */
const FIXED_SERIES = 60 + Object.keys(STAGES).length + MAX_CLOSE_COMBINATIONS + 4 + 3 * HISTOGRAM_SERIES;
/**
 * Number of series of a gateway: connections, opened, messages and bytes in both directions, deliveries, and the
 * histogram of guards.
 */
const GATEWAY_SERIES = 7 + HISTOGRAM_SERIES;

/** Maximum number of handlers with a histogram of their own: what the other metrics leave of {@link MAX_SERIES}. */
const maxHandlers = (gateways: number): number =>
  Math.floor((MAX_SERIES - FIXED_SERIES - GATEWAY_SERIES * Math.min(gateways, MAX_GATEWAYS)) / HISTOGRAM_SERIES);

/**
 * The causes for which this module ends connections. Any other cause comes from the application, or is the text of an
 * error that a peer may have chosen; it is counted as `other`.
 */
const CAUSES = new Map<string | undefined, string>([
  [undefined, 'none'],
  ...[
    'message rate exceeded',
    'control frame rate exceeded',
    'too many malformed messages',
    'message took too long',
    'unsupported data',
    'message too big',
    'too many message fragments',
    'slow reader',
    'buffer budget',
    'address over its share of the buffers',
    'peer does not read',
    'no pong',
    'idle',
    'close timeout',
    'session expired',
    'connection lifetime reached',
    'internal error',
    'banned',
    'too many connections of this user',
    'server shutdown',
    'shutdown',
  ].map((cause) => [cause, cause] as const),
]);

/** The error texts of `ws`, with which connections end because of an invalid frame or message. */
const ERRORS = new Map<string | undefined, string>([
  ['Max payload size exceeded', 'message too big'],
  ['Unsupported WebSocket frame: payload length > 2^53 - 1', 'message too big'],
  ['Too many message fragments', 'too many message fragments'],
]);

/** An error text may contain a value that the peer has sent: invalid frames of all kinds are one cause. */
const causeLabel = (cause: string | undefined): string =>
  CAUSES.get(cause) ?? ERRORS.get(cause) ?? (cause?.startsWith('Invalid WebSocket frame') ? 'invalid frame' : OTHER);

/** Peers also send close codes: only those that RFC 6455 and this module define get a label of their own. */
export const codeLabel = (code: number): string =>
  (code >= 1000 && code <= 1015) || code === 4401 ? String(code) : OTHER;

function families(figures: readonly Figure[]): Family[] {
  const byName = new Map<string, { name: string; help: string; type: 'counter' | 'gauge'; samples: Sample[] }>();
  for (const { name, help, type, labels = {}, value } of figures) {
    let family = byName.get(name);
    if (family === undefined) byName.set(name, (family = { name, help, type, samples: [] }));
    family.samples.push({ labels, value });
  }
  return [...byName.values()];
}

const perGateway =
  (type: 'counter' | 'gauge') =>
  (name: string, help: string, gateways: readonly GatewayGauges[], value: (of: GatewayGauges) => number): Family => ({
    name,
    help,
    type,
    samples: gateways.map((each) => ({ labels: { gateway: each.path }, value: value(each) })),
  });

const counter = perGateway('counter');
const gauge = perGateway('gauge');

const directions = (
  name: string,
  help: string,
  gateways: readonly GatewayGauges[],
  inward: Count,
  outward: Count,
): Family => ({
  name,
  help,
  type: 'counter',
  samples: gateways.flatMap(({ path: gateway, counters }) => [
    { labels: { gateway, direction: 'in' }, value: counters[inward] },
    { labels: { gateway, direction: 'out' }, value: counters[outward] },
  ]),
});

/** Several gateways as one. */
function together(path: string, gateways: readonly GatewayGauges[]): GatewayGauges {
  const counters = new GatewayCounters();
  for (const each of gateways) for (const key of COUNTS) counters[key] += each.counters[key];
  return { path, connections: gateways.reduce((sum, each) => sum + each.connections, 0), counters };
}

/** Sums over all gateways; their ratio shows whether compression is worth its cost. */
function compressed(
  name: string,
  help: string,
  gateways: readonly GatewayGauges[],
  inward: Count,
  outward: Count,
): Family {
  const sum = (key: Count): number => gateways.reduce((total, { counters }) => total + counters[key], 0);
  const samples = [
    { labels: { direction: 'in' }, value: sum(inward) },
    { labels: { direction: 'out' }, value: sum(outward) },
  ];
  return { name, help, type: 'counter', samples };
}

const histogramFamily = (name: string, help: string, samples: readonly HistogramSample[]): Family => ({
  name,
  help,
  type: 'histogram',
  samples,
});
