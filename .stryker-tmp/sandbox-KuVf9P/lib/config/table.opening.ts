// @ts-nocheck
import { boolean, choice, code, duration, integer, size, text } from './kinds.js';
import { optional, row } from './row.js';

export const HTTP_ROWS = {
  /** Bytes of the request (or status) line, and of each header line, CRLF included. */
  maxLineLength: row(size({ min: 64, max: 1024 ** 2 }), {
    scope: 'p',
    variable: 'WEBSOCKETS_MAX_LINE_LENGTH',
    default: 8192,
    means: 'bytes of the request (or status) line, and of each header line, CRLF included. 414; 431',
  }),
  /** Header lines, each counted even when a name repeats. */
  maxNumHeaders: row(integer({ min: 1, max: 100_000 }), {
    scope: 'p',
    variable: 'WEBSOCKETS_MAX_NUM_HEADERS',
    default: 128,
    means: 'header lines, each counted even when a name repeats. 431',
  }),
  /** Bytes of the body of an HTTP response that the client accepts. */
  maxBodySize: row(size({ max: 1024 ** 3 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_MAX_BODY_SIZE',
    default: '1mb',
    means: 'body of an HTTP response that the client accepts. An upgrade request may carry none: 400',
  }),
  /** From TCP accept, TLS included, to the 101. */
  openTimeout: row(duration({ min: 1 }), {
    scope: 'p',
    variable: 'WEBSOCKETS_OPEN_TIMEOUT',
    default: '10s',
    means:
      'from TCP accept, TLS included, to the 101; arriving bytes do not extend it. Incomplete head 408 (plain close where nothing came); complete head 503',
  }),
} as const;

export const LISTEN_ROWS = {
  /** Host or address that a port of a gateway's own listens on. */
  host: optional(text('a host name or address'), {
    scope: 'g',
    variable: 'WEBSOCKETS_HOST',
    defaultText: 'all',
    means: "host or address that a port of a gateway's own listens on",
  }),
} as const;

const pem = () =>
  code<string | Buffer>('a PEM text or Buffer', (value) => typeof value === 'string' || Buffer.isBuffer(value));

export const TLS_ROWS = {
  certFile: optional(text('a file name'), {
    scope: 'p',
    variable: 'WEBSOCKETS_TLS_CERT',
    means:
      'PEM file with the certificate of own ports, chain included; re-read when it changes. `tls: null` on a gateway: none',
  }),
  keyFile: optional(text('a file name'), {
    scope: 'p',
    variable: 'WEBSOCKETS_TLS_KEY',
    means: 'PEM file with its key; a set that does not fit together keeps the old one',
  }),
  caFile: optional(text('a file name'), {
    scope: 'p',
    variable: 'WEBSOCKETS_TLS_CA',
    means: 'PEM file with the authorities that client certificates must come from',
  }),
  cert: optional(pem(), { scope: 'p', secret: true, means: 'the certificate itself. Code only' }),
  key: optional(pem(), { scope: 'p', secret: true, means: 'the key itself. Code only' }),
  ca: optional(pem(), { scope: 'p', secret: true, means: 'the authorities themselves. Code only' }),
  minVersion: row(choice('TLSv1.2', 'TLSv1.3'), {
    scope: 'p',
    variable: 'WEBSOCKETS_TLS_MIN_VERSION',
    default: 'TLSv1.2',
    means: 'lowest version of TLS on own ports',
  }),
  requestCert: row(boolean(), {
    scope: 'p',
    variable: 'WEBSOCKETS_TLS_REQUEST_CERT',
    default: false,
    means:
      'ask for a client certificate; needs a CA. One that does not verify is refused; a verified one reaches guards',
  }),
} as const;
