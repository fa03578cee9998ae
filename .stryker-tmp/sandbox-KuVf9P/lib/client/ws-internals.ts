// @ts-nocheck
import type { WebSocket } from 'ws';
import type { WebSocketInternals } from '../connection/ws-internals.js';

/** What the client uses of `ws` beyond its types and what the server's side uses; pinned by a contract test. */
export interface ClientInternals extends WebSocketInternals {
  /** True after construction without an address. Decides who masks. */
  _isServer: boolean;
  _url: string;
  readonly _closeCode: number;
}

export const clientInternalsOf = (socket: WebSocket): ClientInternals => socket as unknown as ClientInternals;
