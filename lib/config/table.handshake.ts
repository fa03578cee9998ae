import { boolean, choice, code, duration, integer, size, text } from './kinds.js';
import { optional, row } from './row.js';

export const HTTP_ROWS = {
  maxLineLength: row(size({ min: 64, max: 1024 ** 2 }), {
    scope: 'p',
    variable: 'WEBSOCKETS_MAX_LINE_LENGTH',
    default: 8192,
    means:
      'Maximum length of the request line (for the client: of the status line) and of a header line, including CRLF. A longer request line gets 414, a longer header line 431.',
  }),
  maxNumHeaders: row(integer({ min: 1, max: 100_000 }), {
    scope: 'p',
    variable: 'WEBSOCKETS_MAX_NUM_HEADERS',
    default: 128,
    means: 'Maximum number of header lines; a repeated name counts each time. One more gets 431.',
  }),
  maxBodySize: row(size({ max: 1024 ** 3 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_MAX_BODY_SIZE',
    default: '1mb',
    means:
      'Maximum size of the body of an HTTP response that the outbound client accepts. (An upgrade request with a body always gets 400.)',
  }),
  openTimeout: row(duration({ min: 1 }), {
    scope: 'p',
    variable: 'WEBSOCKETS_OPEN_TIMEOUT',
    default: '10s',
    means:
      'Maximum time from TCP accept to the 101, including the TLS handshake; arriving bytes do not extend it. After it, an incomplete request head gets 408 (a connection that has sent nothing is closed), and a complete one 503.',
  }),
} as const;

export const LISTEN_ROWS = {
  host: optional(text('a host name or address'), {
    scope: 'g',
    variable: 'WEBSOCKETS_HOST',
    defaultText: 'all',
    means: 'Host name or address that dedicated ports listen on.',
  }),
} as const;

const pem = () =>
  code<string | Buffer>(
    'a PEM text or Buffer',
    'string | Buffer',
    (value) => typeof value === 'string' || Buffer.isBuffer(value),
  );

export const TLS_ROWS = {
  certFile: optional(text('a file name'), {
    scope: 'p',
    variable: 'WEBSOCKETS_TLS_CERT',
    means:
      'PEM file with the certificate chain of dedicated ports; read again when it changes. `tls: null` on a gateway disables TLS on its port.',
  }),
  keyFile: optional(text('a file name'), {
    scope: 'p',
    variable: 'WEBSOCKETS_TLS_KEY',
    means:
      'PEM file with the private key of the certificate. Changed files are used only if the key matches the certificate.',
  }),
  caFile: optional(text('a file name'), {
    scope: 'p',
    variable: 'WEBSOCKETS_TLS_CA',
    means: 'PEM file with the certificate authorities that may issue client certificates.',
  }),
  cert: optional(pem(), { scope: 'p', secret: true, means: 'The certificate chain itself, in place of the file.' }),
  key: optional(pem(), { scope: 'p', secret: true, means: 'The private key itself, in place of the file.' }),
  ca: optional(pem(), { scope: 'p', secret: true, means: 'The authorities themselves, in place of the file.' }),
  minVersion: row(choice('TLSv1.2', 'TLSv1.3'), {
    scope: 'p',
    variable: 'WEBSOCKETS_TLS_MIN_VERSION',
    default: 'TLSv1.2',
    means: 'Minimum TLS version on dedicated ports.',
  }),
  requestCert: row(boolean(), {
    scope: 'p',
    variable: 'WEBSOCKETS_TLS_REQUEST_CERT',
    default: false,
    means:
      'Requires a client certificate; needs `tls.caFile` or `tls.ca`. A client without a certificate that verifies is refused; guards read a verified one as `attempt.certificate`.',
  }),
} as const;
