// @ts-nocheck
import type { ArgumentsHost } from '@nestjs/common';
import { EXCEPTION_FILTERS_METADATA } from '@nestjs/common/internal';
import type { InstanceWrapper, Module } from '@nestjs/core/internal';
import { BaseWsExceptionFilter } from '@nestjs/websockets';
import { MESSAGE_MAPPING_METADATA } from '@nestjs/websockets/internal';
import { isThenable } from '../admission/admission-store.js';
import { SecureSocket } from '../connection/secure-socket.js';
import { isOfConnection, LastResortFilter, sendException } from '../dispatch/exceptions.js';

/**
 * Nest drops the promises of lifecycle hooks and of exception filters, so that a rejection in one of them would end
 * the process. They are wrapped on the instances, not on their classes: `super` calls what it always did, and two
 * applications that share a class do not meet.
 */
const WRAPPED = Symbol('nest-secure-ws.wrapped');

type Method = ((this: unknown, ...args: unknown[]) => unknown) & { [WRAPPED]?: true };
type Methods = Record<string, Method | undefined>;
type GatewayClass = abstract new (...args: never[]) => unknown;

const LAST_RESORT = new LastResortFilter();

/** Makes a gateway's hooks known to its connections; Nest calls those of a request-scoped one in any case. */
export function wrapHooks(wrapper: InstanceWrapper): void {
  const always = !wrapper.isDependencyTreeStatic();
  eachInstance(wrapper, (instance) => {
    wrap(instance, 'handleConnection', connectionHook, always);
    wrap(instance, 'handleDisconnect', disconnectHook, always);
  });
}

/** Whether connections wait for a hook of this gateway's. */
export const hasConnectionHook = ({ instance }: InstanceWrapper): boolean =>
  (instance as Methods | undefined)?.['handleConnection']?.[WRAPPED] === true;

/** Puts our filter behind those of the application, and catches what those throw or reject with. */
export function wrapFilters(gateway: GatewayClass, { injectables }: Module): void {
  const own = filtersOf(gateway);
  const methods = [...methodsOf(gateway.prototype as object)].map(([, method]) => method);
  for (const filter of new Set([...own, ...methods.flatMap(filtersOf)])) {
    if (typeof filter !== 'function') wrapFilter(filter);
    else {
      const wrapper = injectables.get(filter as never);
      if (wrapper !== undefined) eachInstance(wrapper, wrapFilter);
    }
  }
  if (!own.includes(LAST_RESORT)) Reflect.defineMetadata(EXCEPTION_FILTERS_METADATA, [LAST_RESORT, ...own], gateway);
}

/** The methods of a gateway that handle messages, inherited ones too. */
export const messageHandlers = (prototype: object): Method[] =>
  [...methodsOf(prototype)]
    .map(([, method]) => method)
    .filter((method) => Reflect.getMetadata(MESSAGE_MAPPING_METADATA, method) !== undefined);

/** Shows the instance there is, and where each request gets its own, those that will be. */
function eachInstance(wrapper: InstanceWrapper, prepare: (instance: object) => void): void {
  const lookUp = wrapper.getInstanceByContextId.bind(wrapper);
  const prepared = (host: ReturnType<typeof lookUp>) => {
    if (typeof host?.instance === 'object' && host.instance !== null) prepare(host.instance as object);
    return host;
  };
  prepared({ instance: wrapper.instance as unknown });
  if (!wrapper.isDependencyTreeStatic()) wrapper.getInstanceByContextId = (...args) => prepared(lookUp(...args));
}

function wrap(holder: object, name: string, wrapper: (original: Method) => Method, always = false): void {
  const original = (holder as Methods)[name];
  if (original === undefined ? !always : original[WRAPPED]) return;
  const wrapped = wrapper(original ?? (() => undefined));
  // What decorators have said of the method is found by its prototype chain.
  if (original !== undefined) Object.setPrototypeOf(wrapped, original);
  Object.defineProperty(wrapped, WRAPPED, { value: true });
  Object.defineProperty(holder, name, { value: wrapped, configurable: true, writable: true, enumerable: false });
}

/** The connection is told when the hook has settled; what it rejects with ends there. */
const connectionHook = (original: Method): Method =>
  function (this: unknown, ...args: unknown[]) {
    const [client] = args;
    if (!(client instanceof SecureSocket)) return original.apply(this, args);
    const { connection } = client;
    try {
      const settling = original.apply(this, args);
      if (!isThenable(settling)) return connection.hookSettled();
      return settling.then(
        () => connection.hookSettled(),
        (error: unknown) => connection.hookFailed(error),
      );
    } catch (error) {
      return connection.hookFailed(error);
    }
  };

/** Runs after every `handleConnection` has settled; what it rejects with ends here. */
const disconnectHook = (original: Method): Method =>
  function (this: unknown, ...args: unknown[]) {
    const [client] = args;
    if (!(client instanceof SecureSocket)) return original.apply(this, args);
    const { connection } = client;
    const { telemetry, path } = connection.context;
    connection.whenReady(() =>
      caught(
        () => original.apply(this, args),
        (error) => telemetry.fault('handleDisconnect', error, path),
      ),
    );
    return undefined;
  };

/** Nest's own filter would repeat what the client has sent as the `cause`. */
function wrapFilter(filter: unknown): void {
  if (typeof (filter as Methods | undefined)?.['catch'] !== 'function' || filter === LAST_RESORT) return;
  if (filter instanceof BaseWsExceptionFilter) {
    (filter as unknown as { options: { includeCause: boolean } }).options.includeCause = false;
  }
  wrap(filter as object, 'catch', filterCatch);
}

const filterCatch = (original: Method): Method =>
  function (this: unknown, ...args: unknown[]) {
    const [exception, host] = args as [unknown, ArgumentsHost];
    const client: unknown = host?.getType?.() === 'ws' ? host.getArgByIndex(0) : undefined;
    if (!(client instanceof SecureSocket)) return original.apply(this, args);
    const { connection } = client;
    const result = caught(
      () => original.apply(this, args),
      (error) => {
        connection.context.telemetry.fault('filter', error, connection.context.path);
        sendException(client as SecureSocket, 'Internal server error');
      },
    );
    // A gateway that could not be made for this connection: no hook will ever settle.
    if (isOfConnection(host)) connection.hookFailed(exception);
    return result;
  };

/** Runs `action`; what it throws or rejects with goes to `failed`. */
function caught(action: () => unknown, failed: (error: unknown) => void): unknown {
  try {
    const result = action();
    return isThenable(result) ? result.then(undefined, failed) : result;
  } catch (error) {
    return failed(error);
  }
}

const filtersOf = (target: object): unknown[] => Reflect.getMetadata(EXCEPTION_FILTERS_METADATA, target) ?? [];

/** Methods by name, nearest first. */
function methodsOf(prototype: object): Map<string, Method> {
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
