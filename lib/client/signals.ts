import { defaultMaxListeners, getMaxListeners, setMaxListeners } from 'node:events';

/** Maximum number of attempts on one signal before Node warns of a leak. */
const MANY = 10_000;

/**
 * Adds an `'abort'` listener. Many attempts may share a signal without a leak; Node would warn from eleven listeners
 * on.
 */
export function onAbort(signal: AbortSignal, listener: (event: Event) => void): void {
  if (signal instanceof EventTarget && getMaxListeners(signal) === defaultMaxListeners) setMaxListeners(MANY, signal);
  signal.addEventListener('abort', listener);
}

/**
 * Returns a signal that aborts when one of several does, and a way to remove its listeners; `AbortSignal.any` keeps
 * them.
 */
export class LinkedSignal {
  private readonly controller = new AbortController();
  private readonly sources: readonly AbortSignal[];

  constructor(...sources: (AbortSignal | undefined)[]) {
    this.sources = sources.filter((source) => source !== undefined);
    for (const source of this.sources) {
      if (source.aborted) this.controller.abort(source.reason);
      else onAbort(source, this.pass);
    }
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  release(): void {
    for (const source of this.sources) source.removeEventListener('abort', this.pass);
  }

  private readonly pass = (event: Event): void => {
    this.controller.abort((event.target as AbortSignal).reason);
  };
}
