// @ts-nocheck
import { defaultMaxListeners, getMaxListeners, setMaxListeners } from 'node:events';

/** Attempts that may wait for one signal before Node warns of a leak. */
const MANY = 10_000;

/** Listens for `'abort'`. That many attempts share a signal is no leak, of which Node would warn from eleven on. */
export function onAbort(signal: AbortSignal, listener: (event: Event) => void): void {
  if (signal instanceof EventTarget && getMaxListeners(signal) === defaultMaxListeners) setMaxListeners(MANY, signal);
  signal.addEventListener('abort', listener);
}

/** A signal that aborts when one of several does, and lets go of them again: `AbortSignal.any` would stay registered. */
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
