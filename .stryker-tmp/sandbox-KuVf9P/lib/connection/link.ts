// @ts-nocheck
import type { Socket } from 'node:net';
import type { Connection } from './connection.js';

/** Where a raw socket keeps its connection, so that all listeners can be shared. */
export const CONNECTION = Symbol('nest-secure-ws.connection');

export interface Linked extends Socket {
  /** `undefined` once TCP has ended. */
  [CONNECTION]?: Connection | undefined;
}

/** TCP has ended: there is nothing to answer any more. */
export const isCut = (raw: Socket): boolean => (raw as Linked)[CONNECTION] === undefined;
