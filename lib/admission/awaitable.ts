import { types } from 'node:util';
import type { Observable } from 'rxjs';

/** A value, or a promise of it. */
export type Awaitable<T> = T | Promise<T>;

/**
 * Whether a value must be awaited, whatever promise implementation it has. Reading a property of what the application
 * returned may run code of the application, so only this file does it. Throws if `then` cannot be read.
 */
export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  types.isPromise(value) ||
  (((typeof value === 'object' && value !== null) || typeof value === 'function') &&
    typeof (value as { then?: unknown }).then === 'function');

/** Whether a value is an observable, of any copy of RxJS. Throws if `subscribe` cannot be read. */
export const isObservable = (value: unknown): value is Observable<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as { subscribe?: unknown }).subscribe === 'function';

const { then } = Promise.prototype;

/**
 * Calls `done` or `failed` exactly once, whatever a promise does: one that is not Node's own may call back twice,
 * synchronously, or throw. Never throws itself.
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
