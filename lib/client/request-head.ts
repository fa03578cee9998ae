import { randomBytes } from 'node:crypto';
import { FIELD, TCHAR, trimWhiteSpace } from '../http/grammar.js';
import type { Target } from './target.js';

const NAME = new RegExp(`^[${TCHAR}]+$`);
const VALUE = new RegExp(`^[${FIELD}]*$`);

/** Headers that belong to the handshake, or that would change how the request is framed or forwarded. */
const OWN = new Set([
  'host',
  'upgrade',
  'connection',
  'content-length',
  'transfer-encoding',
  'te',
  'trailer',
  'expect',
  'keep-alive',
  'proxy-connection',
]);

/** The headers of a call as an application writes them; an array becomes several header lines. */
export type HeadersInput = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** One header line. */
export type Line = readonly [name: string, value: string];

/** The parts of the request that come from the call. */
export interface Greeting {
  readonly userAgent: string | undefined;
  readonly origin: string | undefined;
  readonly subprotocols: readonly string[];
  /** `Sec-WebSocket-Extensions`. */
  readonly extensions: string | undefined;
  /** `user:password` of the URL. */
  readonly credentials: string | undefined;
  readonly headers: readonly Line[];
}

/** Returns the header lines of a call. Problems are added to `problems` without the values, which may be secrets. */
export function headerLines(input: unknown, problems: string[]): readonly Line[] {
  if (input === undefined) return [];
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    problems.push('headers must be an object of header names and values');
    return [];
  }
  return Object.entries(input).flatMap(([name, value]) => linesOf(name, value, problems));
}

function linesOf(name: string, value: unknown, problems: string[]): Line[] {
  if (value === undefined) return [];
  const shown = JSON.stringify(name.slice(0, 64));
  const lower = name.toLowerCase();
  if (!NAME.test(name)) problems.push(`headers: ${shown} is not a valid header name`);
  else if (OWN.has(lower) || lower.startsWith('sec-websocket-'))
    problems.push(`headers: ${name} belongs to the handshake and cannot be set`);
  const lines = (Array.isArray(value) ? (value as unknown[]) : [value]).map(
    (one): Line => [name, headerText(one) ?? ''],
  );
  const isBad = (one: unknown): boolean => headerText(one) === undefined;
  if (Array.isArray(value) ? value.some(isBad) : isBad(value))
    problems.push(`headers: the value of ${shown} is not a valid header value`);
  return lines;
}

/** Text without CR, LF, NUL and other characters that headers must not contain; characters up to U+00FF. */
export function headerText(value: unknown): string | undefined {
  const text = typeof value === 'number' ? String(value) : value;
  return typeof text === 'string' && VALUE.test(text) ? trimWhiteSpace(text) : undefined;
}

/** A new `Sec-WebSocket-Key` (RFC 6455, section 4.1, 7). */
export const newKey = (): string => randomBytes(16).toString('base64');

/** The bytes of the request (RFC 6455, section 4.1). */
export function requestHead({ authority, path }: Target, key: string, greeting: Greeting): Buffer {
  const lines: Line[] = [
    ['Host', authority],
    ['Upgrade', 'websocket'],
    ['Connection', 'Upgrade'],
    ['Sec-WebSocket-Version', '13'],
    ['Sec-WebSocket-Key', key],
    ...optional('Sec-WebSocket-Extensions', greeting.extensions),
    ...optional('Sec-WebSocket-Protocol', greeting.subprotocols.join(', ') || undefined),
    ...optional('User-Agent', greeting.userAgent),
    ...optional('Origin', greeting.origin),
    ...optional(
      'Authorization',
      greeting.credentials && `Basic ${Buffer.from(greeting.credentials).toString('base64')}`,
    ),
    ...greeting.headers,
  ];
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return Buffer.from(`GET ${path} HTTP/1.1\r\n${head}\r\n`, 'latin1');
}

const optional = (name: string, value: string | undefined): Line[] => (value === undefined ? [] : [[name, value]]);
