import { types } from 'node:util';
import type { Observable } from 'rxjs';

/**
 * What handlers, hooks, filters and guards return is looked at here only. Reading a property of it may run code of the
 * application's, which may throw, and may answer differently each time.
 */

/** A value, or a promise of it. */
export type Awaitable<T> = T | Promise<T>;

/** Whether a value must be waited for, whoever made its promise. A `then` that cannot be read throws. */
export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  types.isPromise(value) ||
  (((typeof value === 'object' && value !== null) || typeof value === 'function') &&
    typeof (value as { then?: unknown }).then === 'function');

/** Whether a value is an observable of RxJS, whoever's copy of it. A `subscribe` that cannot be read throws. */
export const isObservable = (value: unknown): value is Observable<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as { subscribe?: unknown }).subscribe === 'function';

const { then } = Promise.prototype;

/**
 * Calls `done` or `failed` once, whatever a promise does: one that is not Node's own may call back twice, at once, or
 * throw. Never throws itself.
 */
export function whenSettled(
  promise: PromiseLike<unknown>,
  done: (result: unknown) => void,
  failed: (error: unknown) => void,
): void {
  try {
    if (types.isPromise(promise)) then.call(promise, done, failed);
    else Promise.resolve(promise).then(done, failed);
  } catch (error) {
    failed(error);
  }
}
