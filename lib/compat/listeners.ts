import { EventEmitter } from 'node:events';
import { reportUse } from './report.js';

/**
 * A listener may be an asynchronous function, and what it rejects with would end the process. Node catches that for
 * emitters that are made with `captureRejections`; for objects that no constructor of Node's has run for, the symbol
 * under which it keeps that wish is learned here.
 */
const CAPTURE = Object.getOwnPropertySymbols(new EventEmitter({ captureRejections: true })).find(
  ({ description }) => description === 'kCapture',
);

reportUse('listeners', CAPTURE === undefined ? 'rejections of listeners are not caught' : 'rejections are caught');

/** Has Node call `caught` with what listeners of an emitter, or of those that inherit from it, reject with. */
export function catchRejections<T extends EventEmitter>(emitter: T, caught: (this: T, error: unknown) => void): void {
  const value = function (this: T, error: unknown): void {
    caught.call(this, error);
  };
  Object.defineProperty(emitter, EventEmitter.captureRejectionSymbol, { value, configurable: true });
  if (CAPTURE !== undefined)
    Object.defineProperty(emitter, CAPTURE, { value: true, configurable: true, writable: true });
}
