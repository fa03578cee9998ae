// @ts-nocheck
import {
  type Agreement,
  agreementOf,
  type DeflateParameters,
  type ExtensionOffer,
  MAX_WINDOW_BITS,
  readParameters,
} from './parameters.js';
import { type CompressionMode, EXTENSION_NAME } from './settings.js';

export interface NegotiationSettings {
  readonly mode: CompressionMode;
  /** See {@link CodecSettings.windowBits}. */
  readonly windowBits: number;
}

/** zlib cannot compress with a raw window of 256 bytes: an offer that asks for it is declined (RFC 7692, 7.1.2.1). */
const UNSUPPORTED_SERVER_BITS = 8;

/**
 * The server's side: the answer to the first acceptable offer in the client's order of preference, or `undefined`
 * where there is none and the connection goes uncompressed (RFC 7692, 5.1 and 7.1).
 */
export function negotiate(offers: readonly ExtensionOffer[], settings: NegotiationSettings): Agreement | undefined {
  if (settings.mode === 'off') return undefined;
  for (const offer of offers) {
    const params = acceptable(offer);
    if (params !== undefined) return agreementOf(answer(params, settings));
  }
  return undefined;
}

function acceptable(offer: ExtensionOffer): DeflateParameters | undefined {
  if (offer.name !== EXTENSION_NAME) return undefined;
  const params = readParameters(offer);
  return params?.server_max_window_bits === UNSUPPORTED_SERVER_BITS ? undefined : params;
}

function answer(offered: DeflateParameters, { mode, windowBits }: NegotiationSettings): DeflateParameters {
  const shared = mode === 'shared';
  const params: DeflateParameters = {};
  if (shared || offered.server_no_context_takeover) params.server_no_context_takeover = true;
  // A server may ask for this one unasked (RFC 7692, 7.1.1.2), and for a window of its own too (7.1.2.1) …
  if (shared || offered.client_no_context_takeover) params.client_no_context_takeover = true;
  const serverBits = Math.min(windowBits, offered.server_max_window_bits ?? MAX_WINDOW_BITS);
  if (serverBits < MAX_WINDOW_BITS || offered.server_max_window_bits) params.server_max_window_bits = serverBits;
  // … but the client's window only to a client that said it can do so (7.1.2.2).
  const clientBits = offered.client_max_window_bits;
  if (clientBits) params.client_max_window_bits = Math.min(windowBits, clientBits === true ? 15 : clientBits);
  return params;
}
