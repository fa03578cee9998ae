import { AsyncResource } from 'node:async_hooks';

/**
 * The async context of one connection: what `AsyncLocalStorage.getStore()`, and with it nestjs-cls or a tracing agent,
 * answers inside its guards, hooks, handlers and listeners. `undefined`: the connection has none of its own yet, and
 * its callbacks run in the context in which this module was loaded.
 */
export type AsyncContext = AsyncResource | undefined;

/** Nobody waits for the garbage collector to tell of its end. */
const OPTIONS = Object.freeze({ requireManualDestroy: true });
const TYPE = 'SECUREWS';
const create = (): AsyncResource => new AsyncResource(TYPE, OPTIONS);

/** The context of the caller, to run something in a copy of it later. */
export const captureContext = create;

/** The context of no connection: work of one connection may be started by the timer, read or write of another. */
const ROOT = create();

/** A new context that inherits what `context` holds. */
const fork = (context: AsyncContext): AsyncResource => (context ?? ROOT).runInAsyncScope(create);

/**
 * Calls `run` with `self` and `args` in a fresh copy of a context: what it enters with
 * `AsyncLocalStorage.enterWith()` reaches nothing but what it starts itself.
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
 * Calls `run` in a context, and keeps what it enters with `AsyncLocalStorage.enterWith()` before it returns: the next
 * guard, hook and message of the connection see it. `kept` is given the new context, also where `run` throws.
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
