import { parseExtensions } from '../http/extensions.js';
import { listTokens } from '../http/fields.js';
import type { ResponseHead } from '../http/head-parser.js';
import { acceptOf } from '../http/upgrade-request.js';
import type { DeflateOffer } from '../protocol/deflate/compression.js';
import type { PerMessageDeflate } from '../protocol/deflate/per-message-deflate.js';
import { InvalidHandshakeError } from './errors.js';

/** The request to which the 101 must match. */
export interface Asked {
  readonly key: string;
  readonly subprotocols: readonly string[];
  readonly deflate: DeflateOffer;
}

/** The result of the handshake. */
export interface Agreed {
  /** The subprotocol; empty if none was selected. */
  readonly subprotocol: string;
  readonly deflate: PerMessageDeflate | undefined;
}

/** Checks a 101 in the order of RFC 6455, section 4.1 ("the client MUST validate the server's response"). */
export function verifyUpgrade(head: ResponseHead, asked: Asked): Agreed | InvalidHandshakeError {
  const lines = (name: string): string[] =>
    head.rawHeaders.filter((_, i) => i % 2 === 1 && head.rawHeaders[i - 1]!.toLowerCase() === name);
  // protection: client: HTTP/1.1
  if (head.version !== '1.1') return invalid('a 101 in HTTP/1.0');
  // end protection
  // protection: client: Upgrade
  if (lines('upgrade').join(',').toLowerCase() !== 'websocket') return invalid("'Upgrade' is not 'websocket'");
  // end protection
  // protection: client: Connection
  if (!listTokens(lines('connection')).includes('upgrade')) return invalid("'Connection' does not contain 'upgrade'");
  // end protection
  const accept = lines('sec-websocket-accept');
  // protection: client: the accept value
  if (accept.length !== 1 || accept[0] !== acceptOf(asked.key))
    return invalid("'Sec-WebSocket-Accept' does not match our key");
  // end protection
  const subprotocol = agreedSubprotocol(lines('sec-websocket-protocol'), asked.subprotocols);
  // protection: client: subprotocols that were asked for
  if (subprotocol === undefined) return invalid('the subprotocol was not offered');
  // end protection
  const deflate = agreedExtensions(lines('sec-websocket-extensions'), asked.deflate);
  return deflate instanceof InvalidHandshakeError ? deflate : { subprotocol, deflate };
}

const invalid = (what: string): InvalidHandshakeError =>
  new InvalidHandshakeError(`the server's 101 is invalid: ${what}`);

function agreedSubprotocol(lines: readonly string[], asked: readonly string[]): string | undefined {
  if (lines.length === 0) return '';
  return lines.length === 1 && asked.includes(lines[0]!) ? lines[0] : undefined;
}

function agreedExtensions(
  lines: readonly string[],
  deflate: DeflateOffer,
): PerMessageDeflate | undefined | InvalidHandshakeError {
  const response = parseExtensions(lines);
  if (response === undefined) return invalid("'Sec-WebSocket-Extensions' is malformed");
  const agreed = deflate.accept(response);
  return typeof agreed === 'string' ? invalid(`extensions: ${agreed}`) : agreed;
}
