import { totalmem } from 'node:os';
import { getHeapStatistics } from 'node:v8';
import { showSize } from './kinds.js';
import { printable } from './problems.js';
import { ROWS, rowAt } from './rows.js';
import type { GatewaySettings, Settings, Source } from './settings.js';

/** The value of a setting that is in effect, and its source. */
export interface EffectiveSetting {
  /** `messages.maxSize`. */
  readonly path: string;
  readonly variable: string | undefined;
  /** Resolved: milliseconds, bytes. Secrets are not shown. */
  readonly value: unknown;
  /** The value in the notation of a variable, in one printable line: `64kb`. Secrets are not shown. */
  readonly text: string;
  readonly source: Source;
  /** Path and port of the gateway, if `source` is `gateway`. */
  readonly gateway: string | undefined;
  /** The value is a secret, and neither `value` nor `text` contains it. */
  readonly secret: boolean;
}

/** The settings of one gateway. */
export interface GatewayPart {
  readonly name: string;
  readonly settings: GatewaySettings;
  /** Paths of the options that the gateway sets itself. */
  readonly own: Iterable<string>;
}

export interface SettingsReport {
  readonly settings: readonly EffectiveSetting[];
  /** The most bytes that these settings allow peers to take. */
  readonly worstCaseBytes: number;
  /** Bytes that the process can use: the least of heap limit, container limit and memory. */
  readonly availableBytes: number;
  /** The variant in use for each part that can use internals of Node, Nest or `ws`. */
  readonly compatibility?: Readonly<Record<string, string>>;
}

/** Bytes of an idle open connection: socket, WebSocket, state of Nest and of this library. Rounded up from measurements. */
export const PER_CONNECTION = 16 * 1024;

/** Every setting with its source: the application's settings, then those that gateways set themselves. */
export function reportSettings(
  settings: Settings,
  sources: ReadonlyMap<string, Source>,
  gateways: readonly GatewayPart[],
): SettingsReport {
  const ofApplication = ROWS.map(({ path }) => setting(path, settings, sources.get(path) ?? 'default', undefined));
  const ofGateways = gateways.flatMap(({ name, settings, own }) =>
    [...own].map((path) => setting(path, settings, 'gateway', name)),
  );
  return {
    settings: [...ofApplication, ...ofGateways],
    worstCaseBytes: worstCase(settings, gateways),
    availableBytes: available(),
  };
}

const NOT_SHOWN = '(not shown)';

function setting(path: string, settings: Settings, source: Source, gateway: string | undefined): EffectiveSetting {
  const { group, key, row } = rowAt(path)!;
  const holder = (group === undefined ? settings : settings[group as keyof Settings]) as Record<string, unknown>;
  const value = row.secret && holder[key] !== undefined ? NOT_SHOWN : holder[key];
  return { path, variable: row.variable, value, text: textOf(row, value), source, gateway, secret: row.secret };
}

function textOf(row: (typeof ROWS)[number]['row'], value: unknown): string {
  if (value === undefined) return 'not set';
  if (value === null) return 'none';
  if (value === NOT_SHOWN) return NOT_SHOWN;
  const text = row.show(value);
  // Text without special characters needs no quotes.
  return /^[\x21-\x7e]{1,116}$/.test(text) ? text : printable(text);
}

/**
 * The most memory that peers can take: the memory of all connections and pending handshakes, the budget of all bytes held
 * for them (including the nodes of parsed messages), and the budget of compression contexts.
 */
function worstCase(settings: Settings, gateways: readonly GatewayPart[]): number {
  const { connections, buffers, compression } = settings;
  const dedicated = [settings, ...gateways.map((each) => each.settings)].some(
    ({ compression }) => compression.mode === 'dedicated',
  );
  const attempts = connections.max + connections.maxPending;
  return attempts * PER_CONNECTION + buffers.budget + (dedicated ? compression.budget : 0);
}

function available(): number {
  // Without a limit, constrainedMemory() returns 0 or an absurdly large number.
  const container = process.constrainedMemory() || Number.POSITIVE_INFINITY;
  return Math.min(getHeapStatistics().heap_size_limit, container, totalmem());
}

/** The log lines about settings at start: those that differ from the defaults, by source, and the memory that they allow. */
export function reportLines({ settings, worstCaseBytes, availableBytes }: SettingsReport): string[] {
  const places = new Map<string, string[]>();
  for (const { path, text, source, gateway } of settings) {
    if (source === 'default') continue;
    const place = gateway === undefined ? source : `gateway ${gateway}`;
    const said = places.get(place);
    if (said === undefined) places.set(place, [`${path}=${text}`]);
    else said.push(`${path}=${text}`);
  }
  const differing = [...places].map(([place, said]) => `settings from ${place}: ${said.join(', ')}`);
  const memory = `peers can take at most ${inMiB(worstCaseBytes)} of the ${inMiB(availableBytes)} that this process can use`;
  return [
    ...differing.map((text) => (text.length > LONGEST_LINE ? `${text.slice(0, LONGEST_LINE - 1)}…` : text)),
    `${differing.length === 0 ? 'all settings have their defaults' : 'all other settings have their defaults'} (SecureWsStats.settings() lists them); ${memory}`,
  ];
}

const LONGEST_LINE = 1000;

const inMiB = (bytes: number): string => showSize(Math.ceil(bytes / 1024 ** 2) * 1024 ** 2);

/** A warning if the settings allow peers more memory than the process can use. */
export function memoryWarning({ worstCaseBytes, availableBytes }: SettingsReport): string | undefined {
  if (worstCaseBytes <= availableBytes) return undefined;
  return `connections.max (WEBSOCKETS_MAX_CONNECTIONS) and buffers.budget (WEBSOCKETS_BUFFER_BUDGET) allow peers to take ${inMiB(worstCaseBytes)}, but this process can use only ${inMiB(availableBytes)}: lower these settings, or raise the memory limit`;
}
