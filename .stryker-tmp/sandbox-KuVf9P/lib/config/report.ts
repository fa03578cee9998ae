// @ts-nocheck
import { totalmem } from 'node:os';
import { getHeapStatistics } from 'node:v8';
import { printable } from './problems.js';
import { ROWS, rowAt } from './rows.js';
import type { GatewaySettings, Settings, Source } from './settings.js';

/** A setting as it holds, and who said so. */
export interface EffectiveSetting {
  /** `messages.maxSize`. */
  readonly path: string;
  readonly variable: string | undefined;
  /** Resolved: milliseconds, bytes. Secrets are not shown. */
  readonly value: unknown;
  readonly source: Source;
  /** Path and port of the gateway, where the source is one. */
  readonly gateway: string | undefined;
}

/** What a gateway has said for itself. */
export interface GatewayPart {
  readonly name: string;
  readonly settings: GatewaySettings;
  /** Paths of the options that it gave. */
  readonly own: Iterable<string>;
}

export interface SettingsReport {
  readonly settings: readonly EffectiveSetting[];
  /** Bytes that these settings allow peers to make the process hold. */
  readonly worstCaseBytes: number;
  /** Bytes that the process can have: the least of heap limit, container limit and memory. */
  readonly availableBytes: number;
}

/** What an open connection costs that holds nothing: socket, WebSocket, state of Nest and ours. Rounded up from measurement. */
const PER_CONNECTION = 16 * 1024;

/** Every setting with its source: the application's, then what gateways have of their own. */
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

function setting(path: string, settings: Settings, source: Source, gateway: string | undefined): EffectiveSetting {
  const { group, key, row } = rowAt(path)!;
  const holder = (group === undefined ? settings : settings[group as keyof Settings]) as Record<string, unknown>;
  const value = row.secret && holder[key] !== undefined ? '(not shown)' : holder[key];
  return { path, variable: row.variable, value, source, gateway };
}

/** Connections × what one costs, the budget of all that is held for peers, and that of compression contexts. */
function worstCase(settings: Settings, gateways: readonly GatewayPart[]): number {
  const { connections, buffers, compression } = settings;
  const dedicated = [settings, ...gateways.map((each) => each.settings)].some(
    ({ compression }) => compression.mode === 'dedicated',
  );
  return connections.max * PER_CONNECTION + buffers.budget + (dedicated ? compression.budget : 0);
}

function available(): number {
  // Without a limit it is 0 or an absurd number.
  const container = process.constrainedMemory() || Number.POSITIVE_INFINITY;
  return Math.min(getHeapStatistics().heap_size_limit, container, totalmem());
}

/** The report as one line. */
export const reportLine = ({ settings }: SettingsReport): string =>
  `settings: ${settings.map(({ path, value, source, gateway }) => `${path}=${printable(value)} (${gateway ?? source})`).join(', ')}`;

const inMiB = (bytes: number): string => `${Math.ceil(bytes / 1024 ** 2)} MiB`;

/** A warning where the settings allow more than there is. */
export function memoryWarning({ worstCaseBytes, availableBytes }: SettingsReport): string | undefined {
  if (worstCaseBytes <= availableBytes) return undefined;
  return `connections.max and buffers.budget allow ${inMiB(worstCaseBytes)}, the process can have ${inMiB(availableBytes)}: lower them, or raise its limit`;
}
