import { isThenable, whenSettled } from '../admission/awaitable.js';
import type { NestModule, ProviderWrapper } from '../compat/nest.js';
import { SecureSocket } from '../connection/secure-socket.js';
import { enterContext, runInFork } from '../net/async-context.js';
import type { Telemetry } from '../telemetry/events.js';
import { requestValuesOf } from '../telemetry/redact.js';

/**
 * Nest drops the promises of lifecycle hooks and of exception filters, so a rejection in one of them would end the
 * process. They are wrapped on the instances, not on their classes, so that `super` is unaffected, and two applications
 * can share a class.
 */
const WRAPPED = Symbol('nest-secure-ws.wrapped');

type Method = ((this: unknown, ...args: unknown[]) => unknown) & { [WRAPPED]?: true };
type Methods = Record<string, Method | undefined>;

/**
 * Wraps a gateway's hooks, so that its connections know of them. A request-scoped gateway gets all of them even if it has
 * none, because Nest calls them in any case.
 */
export function wrapHooks(wrapper: ProviderWrapper, telemetry: Telemetry): void {
  const always = !wrapper.isDependencyTreeStatic();
  eachInstance(wrapper, (instance) => {
    wrap(instance, 'afterInit', initHook(telemetry));
    wrap(instance, 'handleConnection', connectionHook, always);
    wrap(instance, 'handleDisconnect', disconnectHook, always);
  });
}

/** Whether connections wait for a hook of this gateway. */
export const hasConnectionHook = ({ instance }: ProviderWrapper): boolean =>
  (instance as Methods | undefined)?.['handleConnection']?.[WRAPPED] === true;

/** Calls `prepare` with the existing instance, and, for a request-scoped provider, with each later one. */
export function eachInstance(wrapper: ProviderWrapper, prepare: (instance: object) => void): void {
  const lookUp = wrapper.getInstanceByContextId.bind(wrapper);
  const prepared = (host: ReturnType<typeof lookUp>) => {
    if (typeof host?.instance === 'object' && host.instance !== null) prepare(host.instance as object);
    return host;
  };
  prepared({ instance: wrapper.instance as unknown });
  if (!wrapper.isDependencyTreeStatic()) wrapper.getInstanceByContextId = (...args) => prepared(lookUp(...args));
}

/** Wraps a method of one instance, once; with `always` even if the instance does not have it. */
export function wrap(holder: object, name: string, wrapper: (original: Method) => Method, always = false): void {
  const original = (holder as Methods)[name];
  if (original === undefined ? !always : original[WRAPPED]) return;
  const wrapped = wrapper(original ?? (() => undefined));
  // Metadata of decorators on the method is found through its prototype chain.
  if (original !== undefined) Object.setPrototypeOf(wrapped, original);
  Object.defineProperty(wrapped, WRAPPED, { value: true });
  Object.defineProperty(holder, name, { value: wrapped, configurable: true, writable: true, enumerable: false });
}

/**
 * Runs code of the application, and calls `done` or `failed` once: at once, or when its promise has settled. Never
 * throws; returns a promise of the end if it is asynchronous.
 */
export function observe(action: () => unknown, done: () => void, failed: (error: unknown) => void): unknown {
  let result: unknown;
  try {
    result = action();
    if (!isThenable(result)) result = undefined;
  } catch (error) {
    return failed(error);
  }
  if (result === undefined) return done();
  return new Promise<void>((resolve) => {
    whenSettled(
      result as PromiseLike<unknown>,
      () => resolve(done()),
      (error) => resolve(failed(error)),
    );
  });
}

const nothing = (): void => undefined;

/**
 * Makes every `onModuleDestroy` of an application wait for `first`, for versions of Nest that call nothing before these
 * hooks.
 */
export function beforeDestroyHooks(modules: Iterable<NestModule>, first: () => Promise<void>): void {
  for (const { providers, controllers, injectables } of modules)
    for (const { instance } of [...providers.values(), ...controllers.values(), ...injectables.values()]) {
      if (typeof instance !== 'object' || instance === null || !Object.isExtensible(instance)) continue;
      wrap(
        instance as object,
        'onModuleDestroy',
        (original) =>
          async function (this: unknown, ...args: unknown[]) {
            await first();
            return original.apply(this, args);
          },
      );
    }
}

/** Called when Nest has created the gateway's server. */
const initHook =
  (telemetry: Telemetry) =>
  (original: Method): Method =>
    function (this: unknown, ...args: unknown[]) {
      return observe(
        () => original.apply(this, args),
        nothing,
        (error) => telemetry.fault('afterInit', error),
      );
    };

/** Notifies the connection when the hook has settled; a rejection is handled here. */
const connectionHook = (original: Method): Method =>
  function (this: unknown, ...args: unknown[]) {
    const [client] = args;
    if (!(client instanceof SecureSocket)) return original.apply(this, args);
    const { connection } = client;
    const { peer } = connection;
    return observe(
      () =>
        enterContext(
          peer.asyncContext,
          () => original.apply(this, args),
          (context) => {
            peer.asyncContext = context;
          },
        ),
      () => connection.hookSettled(),
      (error) => connection.hookFailed(error, requestValuesOf(args[1])),
    );
  };

/** Runs after every `handleConnection` has settled; a rejection is handled here. */
const disconnectHook = (original: Method): Method =>
  function (this: unknown, ...args: unknown[]) {
    const [client] = args;
    if (!(client instanceof SecureSocket)) return original.apply(this, args);
    const { connection } = client;
    // Nest 11 does not pass the reason.
    const all = args.length > 1 ? args : [client, connection.dispatch.closeCode];
    const run = (): unknown => runInFork(connection.peer.asyncContext, original, this, ...all);
    connection.whenReady(() => observe(run, nothing, (error) => connection.fault('handleDisconnect', error)));
    return undefined;
  };
