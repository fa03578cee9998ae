import type { EventEmitter } from 'node:events';
import { ABNORMAL_CLOSURE } from '../protocol/close-codes.js';

/** What `addEventListener` takes: it gets events as `ws` documents them, with `type` and `target` (HTML, section 9.3). */
export type Listener = ((event: object) => void) | { handleEvent(event: object): void };
type Wrapper = ((...args: unknown[]) => unknown) & { readonly [ORIGINAL]?: Listener; readonly [ATTRIBUTE]?: boolean };

/** The listener that a listener of the emitter stands for, and whether it was set as an `on…` attribute. */
const ORIGINAL = Symbol('nest-secure-ws.listener');
const ATTRIBUTE = Symbol('nest-secure-ws.attribute');

/** Events of the emitter as properties of the event object. */
const PROPERTIES: Readonly<Record<string, (...args: never[]) => object>> = {
  open: () => ({}),
  message: (data: Buffer, isBinary: boolean) => ({ data: isBinary ? data : data.toString() }),
  // Without the peer's close frame it is 1006 (RFC 6455, section 7.1.5).
  close: (code: number, reason: Buffer) => ({ code, reason: reason.toString(), wasClean: code !== ABNORMAL_CLOSURE }),
  error: (error: Error) => ({ error, message: error.message }),
};

/** Adds a listener that gets event objects; a type that a `WebSocket` does not have is ignored, as by `ws`. */
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
    // What the listener returns is what the emitter's own would: it may be the promise of an asynchronous one.
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

/** Value of an `on…` attribute. */
export const attributeOf = (emitter: EventEmitter, type: string): Listener | null =>
  attribute(emitter, type)?.[ORIGINAL] ?? null;

/** Sets an `on…` attribute; what is no function only takes the old one away. */
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
