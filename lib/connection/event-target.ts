import type { EventEmitter } from 'node:events';
import { ABNORMAL_CLOSURE } from '../protocol/close-codes.js';

/**
 * A listener for `addEventListener`: it gets event objects as `ws` documents them, with `type` and `target` (HTML,
 * section 9.3).
 */
export type Listener = ((event: object) => void) | { handleEvent(event: object): void };
type Wrapper = ((...args: unknown[]) => unknown) & { readonly [ORIGINAL]?: Listener; readonly [ATTRIBUTE]?: boolean };

/** The listener that a wrapper on the emitter belongs to, and whether it was set as an `on…` attribute. */
const ORIGINAL = Symbol('nest-secure-ws.listener');
const ATTRIBUTE = Symbol('nest-secure-ws.attribute');

/** Converts the arguments of an emitter's event to the properties of an event object. */
const PROPERTIES: Readonly<Record<string, (...args: never[]) => object>> = {
  open: () => ({}),
  message: (data: Buffer, isBinary: boolean) => ({ data: isBinary ? data : data.toString() }),
  // The code is 1006 if no close frame was received (RFC 6455, section 7.1.5).
  close: (code: number, reason: Buffer) => ({ code, reason: reason.toString(), wasClean: code !== ABNORMAL_CLOSURE }),
  error: (error: Error) => ({ error, message: error.message }),
};

/** Adds a listener that gets event objects. A type that a `WebSocket` does not have is ignored, as in `ws`. */
export function addEventListener(
  emitter: EventEmitter,
  type: string,
  listener: Listener,
  once: boolean | undefined,
  isAttribute = false,
): void {
  const properties = PROPERTIES[type] as ((...args: unknown[]) => object) | undefined;
  if (properties === undefined || (!isAttribute && find(emitter, type, listener) !== undefined)) return;
  const wrapper: Wrapper = Object.assign(
    // The result is returned because it may be the promise of an asynchronous listener.
    function (this: unknown, ...args: unknown[]): unknown {
      const event = { type, target: this, ...properties(...args) };
      if (typeof listener === 'object' && typeof listener.handleEvent === 'function')
        return listener.handleEvent(event);
      return (listener as (event: object) => void).call(this, event);
    },
    { [ORIGINAL]: listener, [ATTRIBUTE]: isAttribute },
  );
  if (once) emitter.once(type, wrapper);
  else emitter.on(type, wrapper);
}

export function removeEventListener(emitter: EventEmitter, type: string, listener: Listener): void {
  const wrapper = find(emitter, type, listener);
  if (wrapper !== undefined) emitter.removeListener(type, wrapper);
}

/** The value of an `on…` attribute. */
export const attributeOf = (emitter: EventEmitter, type: string): Listener | null =>
  attribute(emitter, type)?.[ORIGINAL] ?? null;

/** Sets an `on…` attribute. A value that is not a function only removes the previous one. */
export function setAttribute(emitter: EventEmitter, type: string, listener: unknown): void {
  const before = attribute(emitter, type);
  if (before !== undefined) emitter.removeListener(type, before);
  if (typeof listener === 'function') addEventListener(emitter, type, listener as Listener, false, true);
}

const wrappers = (emitter: EventEmitter, type: string): Wrapper[] => emitter.listeners(type) as Wrapper[];

const find = (emitter: EventEmitter, type: string, listener: Listener): Wrapper | undefined =>
  wrappers(emitter, type).find((each) => each[ORIGINAL] === listener && each[ATTRIBUTE] === false);

const attribute = (emitter: EventEmitter, type: string): Wrapper | undefined =>
  wrappers(emitter, type).find((each) => each[ATTRIBUTE] === true);
