import { isDeepStrictEqual } from 'node:util';
import type { ApplicationConfig, ModulesContainer } from '@nestjs/core';
import type { GatewayType } from '../admission/attempt.js';
import {
  GATEWAY_METADATA,
  GATEWAY_OPTIONS,
  INTERCEPTORS_METADATA,
  MESSAGE_MAPPING_METADATA,
  MESSAGE_METADATA,
  type NestModule,
  PORT_METADATA,
  type ProviderWrapper,
} from '../compat/nest.js';
import type { GuardLike } from '../config/code-types.js';
import { type ResolvedRate, rate } from '../config/kinds.js';
import { printable } from '../config/problems.js';
import { type GatewayReading, readGateway, settingsOf } from '../config/resolve.js';
import { rowAt } from '../config/rows.js';
import type { GatewaySettings, SecureGatewayOptions, Settings } from '../config/settings.js';
import type { HandlerTraits } from '../dispatch/handler-table.js';
import { Router } from '../handshake/router.js';
import { tlsProblems } from '../server/tls-files.js';
import { ADMISSION_GUARDS, MESSAGE_RATE } from './decorators.js';

/** A gateway in Nest's container. */
export interface Gateway {
  readonly wrapper: ProviderWrapper;
  readonly type: GatewayType;
  readonly module: NestModule;
  /** 0 is the application's port. */
  readonly port: number;
  readonly options: SecureGatewayOptions;
}

/** The gateways of one path of one port. */
export interface EndpointPlan {
  readonly gateways: readonly Gateway[];
  /** Paths of the options that they set. */
  readonly own: readonly string[];
  readonly settings: GatewaySettings;
  readonly traits: (event: unknown) => HandlerTraits | undefined;
  /** Whether a gateway of a dedicated port has no path: it serves every path that no other gateway has. */
  readonly isCatchAll: boolean;
}

export interface ListenerPlan {
  readonly port: number;
  readonly settings: GatewaySettings;
  readonly endpoints: ReadonlyMap<string, EndpointPlan>;
  readonly foreign: readonly ForeignPlan[];
}

/** A path whose upgrades another library answers. */
export interface ForeignPlan {
  readonly path: string;
  readonly isPrefix: boolean;
  readonly guards: readonly GuardLike[];
  readonly settings: GatewaySettings;
}

/** Finds the gateways of all modules. */
export function findGateways(modules: ModulesContainer): Gateway[] {
  const found: Gateway[] = [];
  for (const module of modules.values()) {
    for (const wrapper of module.providers.values()) {
      const type = wrapper.metatype as GatewayType | null;
      if (wrapper.isNotMetatype || typeof type !== 'function' || !Reflect.hasMetadata(GATEWAY_METADATA, type)) continue;
      const options = (Reflect.getMetadata(GATEWAY_OPTIONS, type) ?? {}) as SecureGatewayOptions;
      found.push({
        wrapper,
        type,
        module,
        port: (Reflect.getMetadata(PORT_METADATA, type) as number | undefined) ?? 0,
        options,
      });
    }
  }
  return found;
}

/** Groups gateways by port and path, with their settings. Problems are collected. */
export function planListeners(
  gateways: readonly Gateway[],
  app: Settings,
  config: ApplicationConfig,
  problems: string[],
): ListenerPlan[] {
  const ports = groupBy(gateways, ({ port }) => port);
  const foreign = planForeign(app, problems);
  if (foreign.length > 0 && !ports.has(0)) ports.set(0, []);
  return [...ports].map(([port, ofPort]) => {
    const readings = new Map(
      ofPort.map((gateway) => [gateway, readGateway(gateway.options, gateway.type.name, port !== 0)]),
    );
    problems.push(...[...readings.values()].flatMap((reading) => reading.problems), ...portProblems(port, ofPort));
    const shared = mergeReadings(
      [...readings].map(([gateway, reading]) => [gateway, portOptionsOf(reading)]),
      `port ${port}`,
      problems,
    );
    const paths = groupBy(ofPort, (gateway) => readings.get(gateway)!.path);
    const others = port === 0 ? foreign : [];
    problems.push(...routeProblems(paths, port, others));
    const endpoints = new Map(
      [...paths].map(([path, ofPath]) => {
        const merged = mergeReadings(
          ofPath.map((gateway) => [gateway, readings.get(gateway)!]),
          `path ${path}`,
          problems,
        );
        const own = new Map([...shared.own, ...merged.own]);
        const settings = resolveSettings(app, { ...merged, own, noTls: shared.noTls }, problems);
        return [
          path,
          {
            gateways: ofPath,
            own: [...own.keys()],
            settings,
            traits: traitsOf(ofPath, config, problems),
            isCatchAll: isCatchAll(port, ofPath),
          },
        ] as const;
      }),
    );
    const settings = resolveSettings(app, shared, problems);
    if (port !== 0 && problems.length === 0) problems.push(...tlsProblems(settings.tls, ` of port ${port}`));
    return { port, settings, endpoints, foreign: others };
  });
}

/** Reports invalid patterns, and patterns that match the same paths. */
function routeProblems(
  paths: ReadonlyMap<string, readonly Gateway[]>,
  port: number,
  foreign: readonly ForeignPlan[],
): string[] {
  const router = new Router<string>();
  const ofGateways = [...paths].flatMap(([path, gateways]) => {
    const { name } = gateways[0]!.type;
    const problem = isCatchAll(port, gateways) ? router.addPrefix(path, name) : router.add(path, name);
    return problem === undefined ? [] : [`path of ${name}: ${problem}`];
  });
  const ofOthers = foreign.flatMap((plan) => {
    const problem = addForeign(router, plan, plan.path);
    return problem === undefined ? [] : [`foreign: ${problem}`];
  });
  return [...ofGateways, ...ofOthers];
}

/** Adds a path of another library; returns an error text if it is invalid. */
export function addForeign<T>(router: Router<T>, { path, isPrefix }: ForeignPlan, value: T): string | undefined {
  if (!isPrefix) return router.add(path, value);
  if (path.endsWith('/')) return router.addPrefix(path, value);
  return router.add(path, value) ?? router.addPrefix(`${path}/`, value);
}

const FOREIGN_KEYS: ReadonlySet<string> = new Set(['path', 'prefix', 'guards', 'connections']);

/** Reads the entries of `foreign` and their settings. Problems are collected. */
function planForeign(app: Settings, problems: string[]): ForeignPlan[] {
  return (app.foreign ?? []).flatMap((entry, index) => {
    const where = `foreign[${index}]`;
    if (typeof entry !== 'object' || entry === null) {
      problems.push(`${where}: ${printable(entry)} is not an object such as { path: '/socket.io/', prefix: true }`);
      return [];
    }
    const { path, prefix = false, guards = [], connections } = entry;
    for (const key of Object.keys(entry)) {
      if (!FOREIGN_KEYS.has(key))
        problems.push(`${where}: unknown option '${key}'; expected ${[...FOREIGN_KEYS].join(', ')}`);
    }
    if (typeof path !== 'string' || !path.startsWith('/'))
      problems.push(`${where}: path ${printable(path)} is not a path that begins with a slash`);
    if (typeof prefix !== 'boolean') problems.push(`${where}: prefix ${printable(prefix)} is not true or false`);
    const reading = readGateway({ path, guards, connections } as SecureGatewayOptions, where, false);
    problems.push(...reading.problems);
    const settings = { ...resolveSettings(app, reading, problems), path };
    return [{ path: String(path), isPrefix: prefix === true, guards, settings }];
  });
}

/** On a dedicated port without a path every path is served, as with Nest's own adapter. */
const isCatchAll = (port: number, gateways: readonly Gateway[]): boolean =>
  port !== 0 && gateways.some(({ options }) => !options.path);

const portProblems = (port: unknown, gateways: readonly Gateway[]): string[] =>
  Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65_535
    ? []
    : gateways.map(({ type }) => `the port of ${type.name}: ${printable(port)} is not a port from 0 to 65535`);

/** Invalid values were already reported; the settings are built from the valid ones. */
function resolveSettings(
  app: Settings,
  reading: Omit<GatewayReading, 'problems'>,
  problems: readonly string[],
): GatewaySettings {
  return settingsOf(app, problems.length === 0 ? reading : { ...reading, own: new Map() });
}

/** The options that belong to the port, which all its gateways share. */
function portOptionsOf(reading: GatewayReading): GatewayReading {
  const own = new Map([...reading.own].filter(([path]) => rowAt(path)!.row.scope === 'p' || path === 'listen.host'));
  return { ...reading, own };
}

/** Guards of several gateways are combined; all other options must not contradict each other. */
function mergeReadings(
  readings: readonly (readonly [Gateway, GatewayReading])[],
  place: string,
  problems: string[],
): Omit<GatewayReading, 'problems'> {
  const own = new Map<string, unknown>();
  const said = new Map<string, Gateway>();
  for (const [gateway, reading] of readings) {
    for (const [path, value] of reading.own) {
      const other = said.get(path);
      if (path === 'guards') continue;
      if (other !== undefined && !isDeepStrictEqual(own.get(path), value)) {
        problems.push(
          `${path} of ${gateway.type.name} is ${printable(value)}, of ${other.type.name} it is ${printable(own.get(path))}: both are on ${place}`,
        );
      }
      own.set(path, value);
      said.set(path, gateway);
    }
  }
  const path = readings[0]?.[1].path ?? '/';
  return { own, path, noTls: readings.some(([, { noTls }]) => noTls) };
}

/** The guards of a gateway: those of its options, then those of its decorator. */
export const guardsOf = ({ type, options }: Gateway): readonly GuardLike[] => [
  ...(options.guards ?? []),
  ...((Reflect.getMetadata(ADMISSION_GUARDS, type) as GuardLike[] | undefined) ?? []),
];

/** The properties of an event's handlers over all gateways of a path. */
function traitsOf(gateways: readonly Gateway[], config: ApplicationConfig, problems: string[]): EndpointPlan['traits'] {
  const everywhere = config.getGlobalInterceptors().length > 0 || config.getGlobalRequestInterceptors().length > 0;
  const traits = new Map<unknown, HandlerTraits>();
  for (const { type } of gateways) {
    const ofClass = everywhere || has(INTERCEPTORS_METADATA, type);
    for (const method of messageHandlers(type.prototype as object)) {
      const event: unknown = Reflect.getMetadata(MESSAGE_METADATA, method);
      const intercepted = ofClass || has(INTERCEPTORS_METADATA, method);
      const own = readRate(method, `${type.name}.${method.name}`, problems);
      const before = traits.get(event);
      traits.set(event, {
        rate: stricterRate(before?.rate, own),
        intercepted: intercepted || (before?.intercepted ?? false),
      });
    }
  }
  return (event) => traits.get(event);
}

type Method = (...args: never[]) => unknown;

/** The methods of a gateway that handle messages, including inherited ones. */
const messageHandlers = (prototype: object): Method[] =>
  [...methodsOf(prototype)]
    .map(([, method]) => method)
    .filter((method) => Reflect.getMetadata(MESSAGE_MAPPING_METADATA, method) !== undefined);

/** Methods by name, the most derived class first. */
export function methodsOf(prototype: object): Map<string, Method> {
  const methods = new Map<string, Method>();
  for (
    let holder = prototype;
    holder && holder !== Object.prototype;
    holder = Object.getPrototypeOf(holder) as object
  ) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(holder))) {
      if (typeof value === 'function' && name !== 'constructor' && !methods.has(name))
        methods.set(name, value as Method);
    }
  }
  return methods;
}

const has = (key: string, target: object): boolean =>
  ((Reflect.getMetadata(key, target) as unknown[] | undefined) ?? []).length > 0;

function readRate(method: object, name: string, problems: string[]): ResolvedRate | undefined {
  const written: unknown = Reflect.getMetadata(MESSAGE_RATE, method);
  if (written === undefined) return undefined;
  const kind = rate();
  const resolved = kind.parse(written);
  if (resolved === undefined)
    problems.push(`@MessageRate of ${name}: ${printable(written)} is not ${kind.noun}; expected ${kind.expected}`);
  return resolved;
}

const stricterRate = (a: ResolvedRate | undefined, b: ResolvedRate | undefined): ResolvedRate | undefined =>
  a === undefined || b === undefined ? (a ?? b) : a.limit / a.window <= b.limit / b.window ? a : b;

/** `Map.groupBy`, which Node 20 lacks. */
function groupBy<T, K>(items: readonly T[], key: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return groups;
}
