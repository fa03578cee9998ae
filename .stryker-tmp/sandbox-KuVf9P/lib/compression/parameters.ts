// @ts-nocheck
import type { ExtensionOffer } from '../http/extensions.js';
import { EXTENSION_NAME } from './settings.js';

export type { ExtensionOffer };

/** Understood parameters of permessage-deflate; those that were not sent are absent (RFC 7692, 7.1). */
export interface DeflateParameters {
  server_no_context_takeover?: true;
  client_no_context_takeover?: true;
  server_max_window_bits?: number;
  /** `true`: sent without a value, which only an offer may do. */
  client_max_window_bits?: number | true;
}

/** What both sides agreed on. Equal agreements may be one frozen object: nothing in it belongs to a connection. */
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

/** The largest window of DEFLATE, and what counts where nothing was said (RFC 7692, 7.1.2). */
export const MAX_WINDOW_BITS = 15;

/** A decimal integer of 8 to 15 without leading zeros (RFC 7692, 7.1.2.1). */
const WINDOW_BITS = /^(?:[89]|1[0-5])$/;

type Value = string | true;
type Reader = (params: DeflateParameters, value: Value) => boolean;

const bitsOf = (value: Value): number | undefined =>
  value !== true && WINDOW_BITS.test(value) ? Number(value) : undefined;

/** One reader a parameter: takes it over and says whether its value was a legal one. */
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
export function readParameters(element: ExtensionOffer): DeflateParameters | undefined {
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
