// @ts-nocheck
import { isDeepStrictEqual } from 'node:util';
import { INTERCEPTORS_METADATA } from '@nestjs/common/internal';
import type { ApplicationConfig, ModulesContainer } from '@nestjs/core';
import type { InstanceWrapper, Module } from '@nestjs/core/internal';
import { GATEWAY_METADATA, GATEWAY_OPTIONS, MESSAGE_METADATA, PORT_METADATA } from '@nestjs/websockets/internal';
import type { GatewayType } from '../admission/attempt.js';
import type { GuardLike } from '../config/code-types.js';
import { type ResolvedRate, rate } from '../config/kinds.js';
import { printable } from '../config/problems.js';
import { type GatewayReading, readGateway, settingsOf } from '../config/resolve.js';
import { rowAt } from '../config/rows.js';
import type { GatewaySettings, SecureGatewayOptions, Settings } from '../config/settings.js';
import type { HandlerTraits } from '../dispatch/handler-table.js';
import { tlsProblems } from '../net/tls-files.js';
import { ADMISSION_GUARDS, MESSAGE_RATE } from './decorators.js';
import { messageHandlers } from './hooks.js';

/** A gateway as Nest knows it. */
export interface Gateway {
  readonly wrapper: InstanceWrapper;
  readonly type: GatewayType;
  readonly module: Module;
  /** 0: the application's. */
  readonly port: number;
  readonly options: SecureGatewayOptions;
}

/** The gateways of one path of one port. */
export interface EndpointPlan {
  readonly gateways: readonly Gateway[];
  /** Paths of the options that they give. */
  readonly own: readonly string[];
  readonly settings: GatewaySettings;
  readonly traits: (event: unknown) => HandlerTraits | undefined;
}

export interface ListenerPlan {
  readonly port: number;
  readonly settings: GatewaySettings;
  readonly endpoints: ReadonlyMap<string, EndpointPlan>;
}

/** Every gateway of every module. */
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

/** Sorts gateways by port and path, with their settings. Problems are collected. */
export function planListeners(
  gateways: readonly Gateway[],
  app: Settings,
  config: ApplicationConfig,
  problems: string[],
): ListenerPlan[] {
  const ports = groupBy(gateways, ({ port }) => port);
  return [...ports].map(([port, ofPort]) => {
    const readings = new Map(
      ofPort.map((gateway) => [gateway, readGateway(gateway.options, gateway.type.name, port !== 0)]),
    );
    problems.push(...[...readings.values()].flatMap((reading) => reading.problems), ...portProblems(port, ofPort));
    const shared = mergeReadings(
      [...readings].map(([gateway, reading]) => [gateway, ofPortOnly(reading)]),
      `port ${port}`,
      problems,
    );
    const paths = groupBy(ofPort, (gateway) => readings.get(gateway)!.path);
    const endpoints = new Map(
      [...paths].map(([path, ofPath]) => {
        const merged = mergeReadings(
          ofPath.map((gateway) => [gateway, readings.get(gateway)!]),
          `path ${path}`,
          problems,
        );
        const own = new Map([...shared.own, ...merged.own]);
        const settings = settle(app, { ...merged, own, noTls: shared.noTls }, problems);
        return [
          path,
          { gateways: ofPath, own: [...own.keys()], settings, traits: traitsOf(ofPath, config, problems) },
        ] as const;
      }),
    );
    const settings = settle(app, shared, problems);
    if (port !== 0 && problems.length === 0) problems.push(...tlsProblems(settings.tls, ` of port ${port}`));
    return { port, settings, endpoints };
  });
}

const portProblems = (port: unknown, gateways: readonly Gateway[]): string[] =>
  Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65_535
    ? []
    : gateways.map(({ type }) => `the port of ${type.name} is ${printable(port)}: expected 0 to 65535`);

/** Values that are wrong were reported already: settings are made of what is right. */
function settle(
  app: Settings,
  reading: Omit<GatewayReading, 'problems'>,
  problems: readonly string[],
): GatewaySettings {
  return settingsOf(app, problems.length === 0 ? reading : { ...reading, own: new Map() });
}

/** What a gateway says about its port: all gateways of the port share it. */
function ofPortOnly(reading: GatewayReading): GatewayReading {
  const own = new Map([...reading.own].filter(([path]) => rowAt(path)!.row.scope === 'p' || path === 'listen.host'));
  return { ...reading, own };
}

/** Guards add up; everything else must not contradict itself. */
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
  const [[, first]] = readings as [readonly [Gateway, GatewayReading]];
  return { own, path: first.path, noTls: readings.some(([, { noTls }]) => noTls) };
}

/** The guards of a gateway: those of its options, then those of its decorator. */
export const guardsOf = ({ type, options }: Gateway): readonly GuardLike[] => [
  ...(options.guards ?? []),
  ...((Reflect.getMetadata(ADMISSION_GUARDS, type) as GuardLike[] | undefined) ?? []),
];

/** What the handlers of an event have in common over the gateways of a path. */
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
        rate: stricter(before?.rate, own),
        intercepted: intercepted || (before?.intercepted ?? false),
      });
    }
  }
  return (event) => traits.get(event);
}

const has = (key: string, target: object): boolean =>
  ((Reflect.getMetadata(key, target) as unknown[] | undefined) ?? []).length > 0;

function readRate(method: object, name: string, problems: string[]): ResolvedRate | undefined {
  const written: unknown = Reflect.getMetadata(MESSAGE_RATE, method);
  if (written === undefined) return undefined;
  const kind = rate();
  const resolved = kind.parse(written);
  if (resolved === undefined)
    problems.push(`@MessageRate of ${name} is ${printable(written)}: expected ${kind.expected}`);
  return resolved;
}

const stricter = (a: ResolvedRate | undefined, b: ResolvedRate | undefined): ResolvedRate | undefined =>
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
