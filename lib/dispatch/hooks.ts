import { EXCEPTION_FILTERS_METADATA } from '@nestjs/common/internal';
import { MESSAGE_MAPPING_METADATA } from '@nestjs/websockets/internal';
import { SecureSocket } from '../connection/secure-socket.js';
import { LastResortFilter } from './exceptions.js';

/**
 * Nest drops the promises of lifecycle hooks and of exception filters, so that a rejection in one of them would end
 * the process. What is wrapped here is wrapped once: two applications may share a class.
 */
const WRAPPED = Symbol('nest-secure-ws.wrapped');

type Method = ((this: unknown, ...args: unknown[]) => unknown) & { [WRAPPED]?: true };
type Holder = Record<string, Method | undefined>;

const LAST_RESORT = new LastResortFilter();

/** Makes a gateway's hooks known to its connections. A request-scoped one gets hooks, so that Nest's own are caught. */
export function wrapHooks(prototype: object, instance: object | undefined, isStatic: boolean): void {
  wrap(prototype as Holder, 'handleConnection', connectionHook, !isStatic);
  wrap(prototype as Holder, 'handleDisconnect', disconnectHook, !isStatic);
  if (instance === undefined) return;
  for (const name of ['handleConnection', 'handleDisconnect']) {
    if (Object.hasOwn(instance, name))
      wrap(instance as Holder, name, name === 'handleConnection' ? connectionHook : disconnectHook, false);
  }
}

function wrap(holder: Holder, name: string, wrapper: (original: Method) => Method, always: boolean): void {
  const original = holder[name];
  if (original === undefined ? !always : original[WRAPPED]) return;
  const wrapped = wrapper(original ?? (() => undefined));
  wrapped[WRAPPED] = true;
  Object.defineProperty(holder, name, { value: wrapped, configurable: true, writable: true, enumerable: false });
}

/** The connection is told when the hook has settled; what it rejects with ends there. */
const connectionHook = (original: Method): Method =>
  function (this: unknown, ...args: unknown[]) {
    const [client] = args;
    if (!(client instanceof SecureSocket)) return original.apply(this, args);
    const { connection } = client;
    let settling: unknown;
    try {
      settling = original.apply(this, args);
    } catch (error) {
      return connection.hookFailed(error);
    }
    if (!isThenable(settling)) return connection.hookSettled();
    return settling.then(
      () => connection.hookSettled(),
      (error: unknown) => connection.hookFailed(error),
    );
  };

/** Runs after every `handleConnection` has settled; what it rejects with ends here. */
const disconnectHook = (original: Method): Method =>
  function (this: unknown, ...args: unknown[]) {
    const [client] = args;
    if (!(client instanceof SecureSocket)) return original.apply(this, args);
    const { connection } = client;
    const { telemetry, path } = connection.context;
    const failed = (error: unknown) => telemetry.fault('handleDisconnect', error, path);
    connection.whenReady(() => {
      try {
        const settling = original.apply(this, args);
        if (isThenable(settling)) settling.then(undefined, failed);
      } catch (error) {
        failed(error);
      }
    });
    return undefined;
  };

/** Puts our filter behind those of the application, and catches what those reject with. */
export function wrapFilters(gateway: abstract new (...args: never[]) => unknown): void {
  const own: unknown[] = Reflect.getMetadata(EXCEPTION_FILTERS_METADATA, gateway) ?? [];
  if (!own.includes(LAST_RESORT)) Reflect.defineMetadata(EXCEPTION_FILTERS_METADATA, [LAST_RESORT, ...own], gateway);
  for (const filter of own) guardFilter(filter);
  for (const method of messageHandlers(gateway.prototype as object)) {
    for (const filter of (Reflect.getMetadata(EXCEPTION_FILTERS_METADATA, method) ?? []) as unknown[])
      guardFilter(filter);
  }
}

function guardFilter(filter: unknown): void {
  const holder = typeof filter === 'function' ? (filter.prototype as Holder) : (filter as Holder);
  if (holder !== (LAST_RESORT as unknown as Holder) && typeof holder?.['catch'] === 'function')
    wrap(holder, 'catch', filterCatch, false);
}

const filterCatch = (original: Method): Method =>
  function (this: unknown, ...args: unknown[]) {
    const host = args[1] as { getType?(): string; getArgByIndex?(index: number): unknown } | undefined;
    const client = host?.getType?.() === 'ws' ? host.getArgByIndex?.(0) : undefined;
    if (!(client instanceof SecureSocket)) return original.apply(this, args);
    const { telemetry, path } = client.connection.context;
    const failed = (error: unknown) => telemetry.fault('filter', error, path);
    try {
      const settling = original.apply(this, args);
      return isThenable(settling) ? settling.then(undefined, failed) : settling;
    } catch (error) {
      return failed(error);
    }
  };

/** The methods of a gateway that handle messages, inherited ones too. */
export function* messageHandlers(prototype: object): Generator<Method> {
  const seen = new Set<string>();
  for (
    let holder = prototype;
    holder !== null && holder !== Object.prototype;
    holder = Object.getPrototypeOf(holder) as object
  ) {
    for (const name of Object.getOwnPropertyNames(holder)) {
      const { value } = Object.getOwnPropertyDescriptor(holder, name) ?? {};
      if (seen.has(name) || typeof value !== 'function') continue;
      seen.add(name);
      if (Reflect.getMetadata(MESSAGE_MAPPING_METADATA, value as Method) !== undefined) yield value as Method;
    }
  }
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
