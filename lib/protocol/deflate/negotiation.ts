import type { ExtensionOffer } from '../../http/extensions.js';

/** How a gateway (or an outbound client) compresses; `off` negotiates nothing. */
export type CompressionMode = 'shared' | 'dedicated' | 'off';

/** The token of the extension (RFC 7692, section 7). */
export const EXTENSION_NAME = 'permessage-deflate';

/** Parameters of permessage-deflate; those that were not sent are absent (RFC 7692, 7.1). */
export interface DeflateParameters {
  server_no_context_takeover?: true;
  client_no_context_takeover?: true;
  server_max_window_bits?: number;
  /** `true`: sent without a value, which only an offer may do. */
  client_max_window_bits?: number | true;
}

/** What both sides agreed on. Frozen; connections with equal agreements may share it. */
export interface Agreement {
  /** The parameters of the response, as they go on the wire. */
  readonly params: Readonly<DeflateParameters>;
  /** log2 of the window the server may use. */
  readonly serverBits: number;
  /** log2 of the window the client may use. */
  readonly clientBits: number;
  readonly serverTakeover: boolean;
  readonly clientTakeover: boolean;
}

/** The settings that negotiation depends on, for both roles. */
export interface NegotiationSettings {
  readonly mode: CompressionMode;
  /** Base 2 logarithm of the largest window we use and ask for: 9 to 15. */
  readonly windowBits: number;
}

/** Errors in a server's answer. Each makes the handshake invalid (RFC 7692, 5.1). */
export type ResponseError = 'not-offered' | 'repeated' | 'bad-parameters' | 'context-not-dropped';

/** The largest window of DEFLATE, which is the default (RFC 7692, 7.1.2). */
const MAX_WINDOW_BITS = 15;

/** zlib cannot compress with a raw window of 256 bytes: an offer that asks for it is declined (RFC 7692, 7.1.2.1). */
const UNSUPPORTED_SERVER_BITS = 8;

/** A decimal integer of 8 to 15 without leading zeros (RFC 7692, 7.1.2.1). */
const WINDOW_BITS = /^(?:[89]|1[0-5])$/;

type Value = string | true;
type Reader = (params: DeflateParameters, value: Value) => boolean;

const bitsOf = (value: Value): number | undefined =>
  value !== true && WINDOW_BITS.test(value) ? Number(value) : undefined;

/** A reader for each parameter: stores the value and returns whether it is legal. */
const READERS: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ['server_no_context_takeover', (params, value) => value === true && (params.server_no_context_takeover = true)],
  ['client_no_context_takeover', (params, value) => value === true && (params.client_no_context_takeover = true)],
  ['server_max_window_bits', (params, value) => (params.server_max_window_bits = bitsOf(value)) !== undefined],
  [
    'client_max_window_bits',
    (params, value) => (params.client_max_window_bits = value === true || bitsOf(value)) !== undefined,
  ],
]);

/** The parameters of one element, or `undefined` when one is unknown, repeated or badly valued (RFC 7692, 7). */
function readParameters(element: ExtensionOffer): DeflateParameters | undefined {
  const params: DeflateParameters = {};
  const seen = new Set<string>();
  for (const [name, value] of element.params) {
    const read = READERS.get(name);
    if (read === undefined || seen.has(name) || !read(params, value)) return undefined;
    seen.add(name);
  }
  return params;
}

/** The agreement that a response with these parameters makes. */
export function agreementOf(params: DeflateParameters): Agreement {
  const { client_max_window_bits: clientBits } = params;
  return Object.freeze({
    params: Object.freeze(params),
    serverBits: params.server_max_window_bits ?? MAX_WINDOW_BITS,
    clientBits: typeof clientBits === 'number' ? clientBits : MAX_WINDOW_BITS,
    serverTakeover: params.server_no_context_takeover !== true,
    clientTakeover: params.client_no_context_takeover !== true,
  });
}

/** Parameters as an element of `Sec-WebSocket-Extensions`. */
export function headerValue(params: Readonly<DeflateParameters>): string {
  const parts = Object.entries(params).map(([name, value]) => (value === true ? name : `${name}=${value}`));
  return [EXTENSION_NAME, ...parts].join('; ');
}

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
  // A server may send these two without an offer (RFC 7692, 7.1.1.2 and 7.1.2.1) …
  if (shared || offered.client_no_context_takeover) params.client_no_context_takeover = true;
  const serverBits = Math.min(windowBits, offered.server_max_window_bits ?? MAX_WINDOW_BITS);
  if (serverBits < MAX_WINDOW_BITS || offered.server_max_window_bits) params.server_max_window_bits = serverBits;
  // … but this one only to a client that offered it (7.1.2.2).
  const clientBits = offered.client_max_window_bits;
  if (clientBits) params.client_max_window_bits = Math.min(windowBits, clientBits === true ? 15 : clientBits);
  return params;
}

/**
 * The client's side: the value of `Sec-WebSocket-Extensions`, or `undefined` where nothing is offered. In `dedicated`
 * mode it asks for a smaller server window; servers that do not support that accept the second offer. For its own window
 * it sends no number: it uses the smaller of the server's answer and its configuration (7.1.2.2).
 */
export function offer({ mode, windowBits }: NegotiationSettings): string | undefined {
  if (mode === 'off') return undefined;
  if (mode === 'shared') {
    return headerValue({
      server_no_context_takeover: true,
      client_no_context_takeover: true,
      client_max_window_bits: true,
    });
  }
  const plain = headerValue({ client_max_window_bits: true });
  if (windowBits === MAX_WINDOW_BITS) return plain;
  return `${headerValue({ server_max_window_bits: windowBits, client_max_window_bits: true })}, ${plain}`;
}

/**
 * The server's answer to {@link offer}: the agreement, `undefined` when the server declined, or what is wrong with
 * it, upon which the connection must fail.
 */
export function acceptResponse(
  response: readonly ExtensionOffer[],
  { mode }: NegotiationSettings,
): Agreement | ResponseError | undefined {
  const [first, second] = response;
  if (first === undefined) return undefined;
  if (mode === 'off' || response.some(({ name }) => name !== EXTENSION_NAME)) return 'not-offered';
  if (second !== undefined) return 'repeated';
  const params = readParameters(first);
  if (params === undefined || params.client_max_window_bits === true) return 'bad-parameters';
  if (mode === 'shared') {
    // A server accepts server_no_context_takeover by repeating it (7.1.1.1).
    if (!params.server_no_context_takeover) return 'context-not-dropped';
    // A client may drop its context without being asked to (7.1.1.2).
    params.client_no_context_takeover = true;
  }
  return agreementOf(params);
}
