import { STATUS_CODES } from 'node:http';
import type { Refusal } from './refusal.js';
import { acceptOf } from './upgrade-request.js';

export type HeaderLine = readonly [name: string, value: string];

export interface Acceptance {
  readonly key: string;
  readonly server: string | null;
  readonly subprotocol: string | undefined;
  /** Value of `Sec-WebSocket-Extensions`. */
  readonly extensions: string | undefined;
  /** Response headers of guards. */
  readonly headers: readonly HeaderLine[];
}

const SWITCHING =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ';

/** The 101 (RFC 6455, section 4.2.2). */
export function acceptanceText({ key, server, subprotocol, extensions, headers }: Acceptance): string {
  let text = `${SWITCHING}${acceptOf(key)}\r\n`;
  if (subprotocol !== undefined) text += `Sec-WebSocket-Protocol: ${subprotocol}\r\n`;
  if (extensions !== undefined) text += `Sec-WebSocket-Extensions: ${extensions}\r\n`;
  return `${text}${headerLines(server, headers)}\r\n`;
}

const ready = new WeakMap<Refusal, Map<string | null, string>>();

/** The complete response of a refusal, which contains no part of the request. */
export function refusalText(refusal: Refusal, server: string | null): string {
  let texts = ready.get(refusal);
  if (texts === undefined) {
    // The text of shared refusals is cached; others have variable parts.
    if (!Object.isFrozen(refusal)) return writeRefusal(refusal, server);
    ready.set(refusal, (texts = new Map()));
  }
  let text = texts.get(server);
  if (text === undefined) texts.set(server, (text = writeRefusal(refusal, server)));
  return text;
}

function writeRefusal({ status, text, headers = [] }: Refusal, server: string | null): string {
  // Everything is written as latin1, so the length in characters is the length in bytes.
  const body = Buffer.from(`${text}\n`).toString('latin1');
  const { length } = body;
  // A required upgrade must also be listed in Connection (RFC 9110, section 7.8).
  const connection = headers.some(([name]) => name === 'Upgrade') ? 'Upgrade, close' : 'close';
  const type = headers.some(([name]) => name.toLowerCase() === 'content-type')
    ? ''
    : 'Content-Type: text/plain; charset=utf-8\r\n';
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Refused'}\r\nConnection: ${connection}\r\n${type}Content-Length: ${length}\r\n${headerLines(server, headers)}\r\n${body}`;
}

function headerLines(server: string | null, headers: readonly HeaderLine[]): string {
  if (headers.length === 0) return server === null ? '' : `Server: ${server}\r\n`;
  const named = headers.some(([name]) => name.toLowerCase() === 'server');
  let text = server === null || named ? '' : `Server: ${server}\r\n`;
  for (const [name, value] of headers) text += `${name}: ${value}\r\n`;
  return text;
}
