import { parseAddress } from '../net/address.js';
import { compiled, parseAddressList } from '../net/address-list.js';
import { showDuration } from './kinds.js';
import { nameOf } from './problems.js';
import { rowAt } from './rows.js';
import type { GatewaySettings, Settings, Source } from './settings.js';

/** The settings of an application and its gateways, which are checked against each other. */
export interface Deployment {
  readonly settings: Settings;
  readonly sources: ReadonlyMap<string, Source>;
  readonly gateways: readonly GatewaySettingsAt[];
  /** Whether the application's own server uses TLS. */
  readonly httpsServer: boolean;
}

export interface GatewaySettingsAt {
  readonly name: string;
  /** 0 is the application's port. */
  readonly port: number;
  readonly settings: GatewaySettings;
  /** Paths of the options that the gateway sets itself. */
  readonly own: Iterable<string>;
}

export interface Findings {
  /** Contradictions that stop the start. */
  readonly problems: readonly string[];
  /** Combinations that work, but not as the settings suggest. */
  readonly warnings: readonly string[];
}

/** A rule that compares settings of the application, or of one gateway. */
interface Rule {
  /** The settings that the rule compares. It is not applied to a gateway that sets none of them itself. */
  readonly paths: readonly string[];
  /** The rule is applied only to the application's settings. */
  readonly application?: boolean;
  /** A violation stops the start; otherwise it is a warning. */
  readonly fatal?: boolean;
  /** The text of the finding, or `undefined`. */
  find(settings: Settings): string | undefined;
}

function raw(settings: Settings, path: string): unknown {
  const { group, key } = rowAt(path)!;
  return ((group === undefined ? settings : settings[group as keyof Settings]) as Record<string, unknown>)[key];
}

/** The value of a setting in the notation of a variable. */
function shown(settings: Settings, path: string): string {
  const value = raw(settings, path);
  return value === undefined || value === null ? 'not set' : rowAt(path)!.row.show(value);
}

const name = (path: string): string => nameOf(rowAt(path)!);
const is = (settings: Settings, path: string): string => `${name(path)} is ${shown(settings, path)}`;

/** The number to compare; for a rate, its limit. */
function amount(settings: Settings, path: string): number | undefined {
  const value = raw(settings, path);
  if (typeof value === 'number') return value;
  return typeof value === 'object' && value !== null ? (value as { limit?: number }).limit : undefined;
}

/** A rule: the value of `path` must not be above that of `other`. */
const above = (
  path: string,
  other: string,
  consequence: string | ((settings: Settings) => string),
  details: Pick<Rule, 'application'> = {},
): Rule => ({
  ...details,
  paths: [path, other],
  find(settings) {
    const [value, bound] = [amount(settings, path), amount(settings, other)];
    if (value === undefined || bound === undefined || value <= bound) return undefined;
    const text = typeof consequence === 'string' ? consequence : consequence(settings);
    return `${is(settings, path)}, above ${name(other)}, which is ${shown(settings, other)}: ${text}`;
  },
});

/** Describes how long reading pauses after one message of the maximum size. */
const pauses =
  (path: 'byteRate' | 'byteRatePerIp') =>
  ({ messages }: Settings): string => {
    const { limit, window } = messages[path];
    const pause = Math.ceil(((messages.maxSize - limit) * window) / limit / 1000);
    return `after one message of that size nothing is read for ${showDuration(pause * 1000)}`;
  };

const BYTES_PER_NODE = 64;
/** Maximum bytes of all unfinished request heads together. */
const HEADS = 16 * 1024 ** 2;
/** Bytes of one dedicated context with the smallest window and memory level; see bench/compression/results.md. */
const SMALLEST_CONTEXT = 98 * 1024;
const ADDRESS_FIRST = 'the limit per address is reached first';

const RULES: readonly Rule[] = [
  {
    paths: ['proxy.protocol'],
    fatal: true,
    find(settings) {
      const { protocol, trusted } = settings.proxy;
      if (protocol === 'off' || trusted.length > 0) return undefined;
      return `${is(settings, 'proxy.protocol')}, and ${name('proxy.trusted')} is empty: no peer may send the header; list the proxies or set ${name('proxy.protocol')} to off`;
    },
  },
  above('messages.maxSize', 'buffers.maxPerIp', 'a message of that size can never be received'),
  above('messages.maxSize', 'buffers.budget', 'a message of that size can never be received'),
  {
    paths: ['messages.maxSize', 'messages.maxNodes', 'buffers.maxPerIp'],
    find(settings) {
      const { messages, buffers } = settings;
      const nodes = BYTES_PER_NODE * Math.min(messages.maxNodes, messages.maxSize);
      if (messages.maxSize > buffers.maxPerIp || 2 * messages.maxSize + nodes <= buffers.maxPerIp) return undefined;
      const what =
        2 * messages.maxSize > buffers.maxPerIp
          ? `${is(settings, 'messages.maxSize')}, more than half of`
          : `${is(settings, 'messages.maxSize')} and ${is(settings, 'messages.maxNodes')} (64 bytes each), together with a reply of the same size more than`;
      return `${what} ${name('buffers.maxPerIp')}, which is ${shown(settings, 'buffers.maxPerIp')}: such a message and its reply end the connection with 1013; raise the latter or lower the former`;
    },
  },
  above('messages.maxQueueBytes', 'buffers.maxPerIp', ADDRESS_FIRST),
  above(
    'messages.maxSize',
    'messages.maxQueueBytes',
    'one message fills the queue, and the next one is read only after the first has been handled',
  ),
  above('messages.maxSize', 'messages.byteRate', pauses('byteRate')),
  above('messages.maxSize', 'messages.byteRatePerIp', pauses('byteRatePerIp')),
  {
    paths: ['messages.byteRate', 'messages.byteRatePerIp'],
    find(settings) {
      const { byteRate: own, byteRatePerIp: shared } = settings.messages;
      if (own.limit / own.window <= shared.limit / shared.window) return undefined;
      return `${is(settings, 'messages.byteRate')}, faster than ${name('messages.byteRatePerIp')}, which is ${shown(settings, 'messages.byteRatePerIp')}: ${ADDRESS_FIRST}`;
    },
  },
  above('messages.concurrency', 'messages.maxQueue', 'the former is used as the size of the queue, too'),
  above(
    'buffers.writeLimit',
    'buffers.maxBuffered',
    'the connection of a slow reader ends before reading from it pauses',
  ),
  above('buffers.maxBuffered', 'buffers.maxPerIp', ADDRESS_FIRST),
  above('buffers.maxPerIp', 'buffers.budget', 'one address can hold the whole budget', { application: true }),
  above('connections.maxPerIp', 'connections.max', 'one address can hold every connection', { application: true }),
  above('connections.maxPerUser', 'connections.max', 'one user can hold every connection', { application: true }),
  above('connections.maxPending', 'connections.max', 'more handshakes can be pending than connections are allowed', {
    application: true,
  }),
  above('connections.maxPendingPerIp', 'connections.maxPending', 'one address can hold every pending handshake', {
    application: true,
  }),
  above('connections.guardTimeout', 'http.openTimeout', 'the open timeout ends an attempt before the guard timeout'),
  {
    paths: ['http.maxLineLength', 'http.maxNumHeaders'],
    find(settings) {
      const { maxLineLength, maxNumHeaders } = settings.http;
      if (maxLineLength * maxNumHeaders <= HEADS) return undefined;
      return `${is(settings, 'http.maxLineLength')} and ${is(settings, 'http.maxNumHeaders')}: a request head that uses both is larger than 16mb, the limit for all unfinished heads together, and is dropped`;
    },
  },
  {
    paths: ['cluster.url', 'cluster.client', 'cluster.store', 'cluster.bus'],
    fatal: true,
    application: true,
    find({ cluster }) {
      const { url, client, store, bus } = cluster;
      if ((store === undefined) !== (bus === undefined))
        return `${name('cluster.store')} and ${name('cluster.bus')} need each other: only one of them is set`;
      const given = [url, client, store].filter((each) => each !== undefined);
      if (given.length < 2) return undefined;
      return `${name('cluster.url')}, ${name('cluster.client')} and ${name('cluster.store')} exclude each other: more than one is set`;
    },
  },
  {
    paths: ['cluster.heartbeat', 'cluster.lease', 'cluster.timeout'],
    fatal: true,
    application: true,
    find(settings) {
      const { heartbeat, lease, timeout } = settings.cluster;
      if (2 * heartbeat + timeout <= lease) return undefined;
      return `${is(settings, 'cluster.lease')}, less than twice ${name('cluster.heartbeat')}, ${shown(settings, 'cluster.heartbeat')}, plus ${name('cluster.timeout')}, ${shown(settings, 'cluster.timeout')}: a single failed renewal ends the lease`;
    },
  },
  above('keepalive.idleTimeout', 'keepalive.maxLifetime', 'connections end before the idle timeout'),
  above('keepalive.pingInterval', 'keepalive.maxLifetime', 'connections end before the first ping'),
  {
    paths: ['compression.mode', 'compression.budget'],
    find(settings) {
      const { mode, budget } = settings.compression;
      if (mode !== 'dedicated' || budget >= SMALLEST_CONTEXT) return undefined;
      return `${is(settings, 'compression.mode')} and ${is(settings, 'compression.budget')}: one context needs more memory than that, so every connection gets shared compression`;
    },
  },
  above('client.backoffInitialDelay', 'client.backoffMaxDelay', 'the maximum also limits the first delay', {
    application: true,
  }),
  above('client.backoffMinDelay', 'client.backoffMaxDelay', 'every delay has the maximum length', {
    application: true,
  }),
  {
    paths: ['connections.allowedIps', 'connections.deniedIps'],
    fatal: true,
    application: true,
    find({ connections: { allowedIps, deniedIps } }) {
      if (allowedIps === undefined || allowedIps.length === 0) return undefined;
      if (!allowedIps.every((entry) => deniedIps.some((denied) => covers(denied, entry)))) return undefined;
      return `${name('connections.deniedIps')} covers all of ${name('connections.allowedIps')}: no address can connect`;
    },
  },
  {
    paths: ['proxy.trusted'],
    application: true,
    find({ proxy }) {
      const everybody = proxy.trusted.find((entry) => /\/0+$/.test(entry));
      if (everybody === undefined) return undefined;
      return `${name('proxy.trusted')} contains ${everybody}: every peer can choose the address that is counted for it, so no limit per address is effective; list only the proxies`;
    },
  },
];

/** Whether one entry of an address list covers another. Names such as `loopback` only cover themselves. */
function covers(outer: string, inner: string): boolean {
  if (outer.toLowerCase() === inner.toLowerCase()) return true;
  const [address, length] = inner.split('/') as [string, string?];
  const parsed = parseAddress(address);
  if (parsed === undefined || !compiled(parseAddressList([outer])).has(parsed)) return false;
  const bits = (text: string | undefined) => (text === undefined ? Number.POSITIVE_INFINITY : Number(text));
  return bits(outer.split('/')[1]) <= bits(length);
}

/** Problems and warnings about combinations of settings that are valid by themselves. */
export function inconsistencies(deployment: Deployment): Findings {
  const { settings, gateways } = deployment;
  const problems: string[] = [];
  const warnings: string[] = [];
  const note = (rule: Rule, text: string) => (rule.fatal ? problems : warnings).push(text);
  for (const rule of RULES) {
    const text = rule.find(settings);
    if (text !== undefined) note(rule, text);
  }
  for (const { name, settings, own } of gateways) {
    const given = new Set(own);
    for (const rule of RULES) {
      if (rule.application || !rule.paths.some((path) => given.has(path))) continue;
      const text = rule.find(settings);
      if (text !== undefined) note(rule, `gateway ${name}: ${text}`);
    }
  }
  warnings.push(...plaintextOnly(deployment), ...beyondTotals(deployment), ...withoutEffect(deployment));
  return { problems, warnings };
}

/** Warnings for caps of gateways above the application's total. */
function beyondTotals({ settings, gateways }: Deployment): string[] {
  return gateways.flatMap(({ name: gateway, settings: { own } }) =>
    (['max', 'maxPerIp', 'maxPerUser'] as const).flatMap((key) => {
      const [cap, total] = [own[key], settings.connections[key]];
      if (cap === undefined || total === undefined || cap <= total) return [];
      return [
        `gateway ${gateway}: ${name(`connections.${key}`)} is ${cap}, above that of the application, which is ${total}: the latter is reached first`,
      ];
    }),
  );
}

/** Whether the server on a gateway's port uses TLS. */
export const speaksTls = (
  { port, settings: { tls } }: Pick<GatewaySettingsAt, 'port' | 'settings'>,
  httpsServer: boolean,
): boolean => (port === 0 ? httpsServer : (tls.cert ?? tls.certFile) !== undefined);

function plaintextOnly({ settings: { proxy }, gateways, httpsServer }: Deployment): string[] {
  if (!proxy.requireTls || proxy.trusted.length > 0) return [];
  const plain = gateways.filter((gateway) => !speaksTls(gateway, httpsServer));
  return plain.map(
    ({ name: gateway }) =>
      `${name('proxy.requireTls')} is true, and gateway ${gateway} has neither TLS nor a trusted proxy: every connection is refused with 403; configure tls.* on a dedicated port, httpsOptions for the application's port, or ${name('proxy.trusted')}`,
  );
}

/** Warnings for settings that are set but have no effect. */
function withoutEffect({ settings, sources, gateways }: Deployment): string[] {
  const isSet = (path: string) => (sources.get(path) ?? 'default') !== 'default';
  const all: readonly Settings[] = gateways.length > 0 ? gateways.map((each) => each.settings) : [settings];
  const modes = new Set(all.map(({ compression }) => compression.mode));
  const isOff = modes.size === 1 && modes.has('off');
  const isDedicated = gateways.some(({ port }) => port !== 0);
  const cases: readonly (readonly [applies: boolean, paths: readonly string[], why: string])[] = [
    [
      gateways.length > 0 && !isDedicated,
      ['tls.certFile', 'tls.keyFile', 'tls.caFile', 'tls.cert', 'tls.key', 'tls.ca', 'tls.requestCert'],
      "no gateway has a dedicated port; TLS of the application's port comes from the httpsOptions of NestFactory.create()",
    ],
    [gateways.length > 0 && !isDedicated, ['listen.host'], 'no gateway has a dedicated port'],
    [
      settings.proxy.trusted.length === 0,
      ['proxy.header'],
      `${name('proxy.trusted')} lists no proxy, so no forwarding header is read`,
    ],
    [
      all.every(({ connections }) => connections.maxPerUser === undefined),
      ['connections.onUserLimit'],
      `${name('connections.maxPerUser')} is not set`,
    ],
    [
      all.every(({ keepalive }) => keepalive.pingInterval === null),
      ['keepalive.pingTimeout'],
      `${name('keepalive.pingInterval')} is removed, so no pong is awaited`,
    ],
    [
      isOff,
      ['windowBits', 'memLevel', 'level', 'threshold', 'maxRatio'].map((key) => `compression.${key}`),
      `${name('compression.mode')} is off`,
    ],
    [!modes.has('dedicated'), ['compression.budget'], `${name('compression.mode')} is not 'dedicated' anywhere`],
  ];
  return cases.flatMap(([applies, paths, why]) =>
    applies ? paths.filter(isSet).map((path) => `${name(path)} has no effect: ${why}`) : [],
  );
}
