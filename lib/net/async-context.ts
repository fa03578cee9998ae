import { AsyncResource } from 'node:async_hooks';

/**
 * The async context of one connection: the value of `AsyncLocalStorage.getStore()`, and therefore of nestjs-cls or a
 * tracing agent, inside of its guards, hooks, handlers and listeners. `undefined`: the connection has no context of its
 * own yet, and its callbacks run in the context in which this module was loaded.
 */
export type AsyncContext = AsyncResource | undefined;

/**
 * Hooks of `async_hooks` that keep an entry for each resource (cls-hooked, Jest's `--detectOpenHandles`) must be
 * notified of its end. Without such a hook Node tracks nothing.
 */
const OPTIONS = Object.freeze({ requireManualDestroy: false });
const TYPE = 'SECUREWS';
const create = (): AsyncResource => new AsyncResource(TYPE, OPTIONS);

/** The context of the caller, for running a function in a copy of it later. */
export const captureContext = create;

/**
 * A function that calls `callback` in the context of the caller of this one. `AsyncResource.bind` takes 20 times as long
 * on Node 20, where it defines two properties of the function that it returns.
 */
export function bindContext<Args extends readonly unknown[]>(
  callback: (...args: Args) => void,
): (...args: Args) => void {
  const context = captureContext();
  return (...args) => context.runInAsyncScope(callback, undefined, ...args);
}

/**
 * The context outside of any connection: work of one connection can be started by a timer, read or write of another.
 */
const ROOT = create();

/** A new context that inherits from `context`. */
const fork = (context: AsyncContext): AsyncResource => (context ?? ROOT).runInAsyncScope(create);

/**
 * Calls `run` with `self` and `args` in a new copy of a context: what it enters with `AsyncLocalStorage.enterWith()`
 * affects only what it starts itself.
 */
export function runInFork<Self, Args extends readonly unknown[], Result>(
  context: AsyncContext,
  run: (this: Self, ...args: Args) => Result,
  self: Self,
  ...args: Args
): Result {
  return fork(context).runInAsyncScope(run as unknown as (...args: unknown[]) => Result, self, ...args);
}

/**
 * Calls `run` in a context, and keeps what it enters synchronously with `AsyncLocalStorage.enterWith()` for the
 * following guards, hooks and messages of the connection. `kept` is called with the new context, even if `run` throws.
 */
export function enterContext<Result>(
  context: AsyncContext,
  run: () => Result,
  kept: (context: AsyncContext) => void,
): Result {
  return fork(context).runInAsyncScope(() => {
    try {
      return run();
    } finally {
      kept(create());
    }
  });
}
