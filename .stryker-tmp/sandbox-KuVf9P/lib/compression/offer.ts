// @ts-nocheck
import type { NegotiationSettings } from './negotiate.js';
import {
  type Agreement,
  agreementOf,
  type DeflateParameters,
  type ExtensionOffer,
  headerValue,
  MAX_WINDOW_BITS,
  readParameters,
} from './parameters.js';
import { EXTENSION_NAME } from './settings.js';

/** What a server may answer wrongly; all of it is an invalid handshake (RFC 7692, 5.1). */
export type ResponseError = 'not-offered' | 'repeated' | 'bad-parameters' | 'window-too-large' | 'context-not-dropped';

/**
 * The client's side: the value of `Sec-WebSocket-Extensions`, or `undefined` where nothing is offered. With
 * contexts of its own it would like a smaller server window; servers that cannot do that take the second offer.
 */
export function offer({ mode, windowBits }: NegotiationSettings): string | undefined {
  if (mode === 'off') return undefined;
  const own: DeflateParameters = { client_max_window_bits: windowBits < MAX_WINDOW_BITS ? windowBits : true };
  if (mode === 'shared') {
    return headerValue({ server_no_context_takeover: true, client_no_context_takeover: true, ...own });
  }
  const plain = headerValue(own);
  if (windowBits === MAX_WINDOW_BITS) return plain;
  return `${headerValue({ server_max_window_bits: windowBits, ...own })}, ${plain}`;
}

/**
 * The server's answer to {@link offer}: the agreement, `undefined` when the server declined, or what is wrong with
 * it, upon which the connection must fail.
 */
export function acceptResponse(
  response: readonly ExtensionOffer[],
  settings: NegotiationSettings,
): Agreement | ResponseError | undefined {
  const [first, second] = response;
  if (first === undefined) return undefined;
  if (settings.mode === 'off' || response.some(({ name }) => name !== EXTENSION_NAME)) return 'not-offered';
  if (second !== undefined) return 'repeated';
  const params = readParameters(first);
  if (params === undefined || params.client_max_window_bits === true) return 'bad-parameters';
  const problem = problemOf(params, settings);
  if (problem !== undefined) return problem;
  // What we keep is ours to decide, asked or not (7.1.1.2): in shared mode nothing.
  if (settings.mode === 'shared') params.client_no_context_takeover = true;
  return agreementOf(params);
}

function problemOf(params: DeflateParameters, { mode, windowBits }: NegotiationSettings): ResponseError | undefined {
  // "The same or smaller value" (RFC 7692, 7.1.2.2). The server's own window it may choose freely (7.1.2.1).
  const clientBits = params.client_max_window_bits;
  if (typeof clientBits === 'number' && clientBits > windowBits) return 'window-too-large';
  // It accepts an offer of server_no_context_takeover by repeating it (7.1.1.1).
  if (mode === 'shared' && !params.server_no_context_takeover) return 'context-not-dropped';
  return undefined;
}
