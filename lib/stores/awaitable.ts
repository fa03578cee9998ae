export type Awaitable<T> = T | Promise<T>;

/** Whether a value must be waited for, whoever made its promise. */
export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
