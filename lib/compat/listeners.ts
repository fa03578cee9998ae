import { EventEmitter } from 'node:events';
import { reportUse } from './report.js';

/**
 * A listener can be an asynchronous function whose rejection would end the process. Node catches rejections for
 * emitters created with `captureRejections`; for objects that were not created by a Node constructor, the symbol of
 * that setting is determined here.
 */
const CAPTURE = Object.getOwnPropertySymbols(new EventEmitter({ captureRejections: true })).find(
  ({ description }) => description === 'kCapture',
);

reportUse('listeners', CAPTURE === undefined ? 'rejections of listeners are not caught' : 'rejections are caught');

/** Makes Node call `caught` when listeners of an emitter, or of emitters that inherit from it, reject. */
export function catchRejections<T extends EventEmitter>(emitter: T, caught: (this: T, error: unknown) => void): void {
  const value = function (this: T, error: unknown): void {
    caught.call(this, error);
  };
  Object.defineProperty(emitter, EventEmitter.captureRejectionSymbol, { value, configurable: true });
  if (CAPTURE !== undefined)
    Object.defineProperty(emitter, CAPTURE, { value: true, configurable: true, writable: true });
}
