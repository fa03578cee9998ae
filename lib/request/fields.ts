import { LOWER_CASE } from './grammar.js';

/** What a head says under one name: nothing, one line, or several in their order. Nothing is merged. */
export type Lines = string | readonly string[] | undefined;

type Kept = string | string[] | undefined;

const NONE: readonly string[] = Object.freeze([]);

/** As a list, whatever their number. */
export const linesOf = (lines: Lines): readonly string[] =>
  typeof lines === 'string' ? [lines] : lines === undefined ? NONE : lines;

/** The value where there is exactly one line. */
export const only = (lines: Lines): string | undefined => (typeof lines === 'string' ? lines : undefined);

/** The headers that the checks of a request look at, sorted in one pass. */
export class Fields {
  host: Kept = undefined;
  upgrade: Kept = undefined;
  connection: Kept = undefined;
  key: Kept = undefined;
  version: Kept = undefined;
  transferEncoding: Kept = undefined;
  contentLength: Kept = undefined;
  origin: Kept = undefined;
  protocol: Kept = undefined;
  extensions: Kept = undefined;

  constructor(rawHeaders: readonly string[]) {
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) this.sort(rawHeaders[i]!, rawHeaders[i + 1]!);
  }

  /** By their lengths, so that most other headers need no look at their letters. */
  private sort(name: string, value: string): void {
    switch (name.length) {
      case 4:
        if (is(name, 'Host', 'host')) this.host = more(this.host, value);
        break;
      case 6:
        if (is(name, 'Origin', 'origin')) this.origin = more(this.origin, value);
        break;
      case 7:
        if (is(name, 'Upgrade', 'upgrade')) this.upgrade = more(this.upgrade, value);
        break;
      case 10:
        if (is(name, 'Connection', 'connection')) this.connection = more(this.connection, value);
        break;
      case 14:
        if (is(name, 'Content-Length', 'content-length')) this.contentLength = more(this.contentLength, value);
        break;
      case 17:
        if (is(name, 'Sec-WebSocket-Key', 'sec-websocket-key')) this.key = more(this.key, value);
        else if (is(name, 'Transfer-Encoding', 'transfer-encoding'))
          this.transferEncoding = more(this.transferEncoding, value);
        break;
      case 21:
        if (is(name, 'Sec-WebSocket-Version', 'sec-websocket-version')) this.version = more(this.version, value);
        break;
      case 22:
        if (is(name, 'Sec-WebSocket-Protocol', 'sec-websocket-protocol')) this.protocol = more(this.protocol, value);
        break;
      case 24:
        if (is(name, 'Sec-WebSocket-Extensions', 'sec-websocket-extensions'))
          this.extensions = more(this.extensions, value);
    }
  }
}

/** Names have no case (RFC 9110, section 5.1). Most that are as long begin otherwise, or are as RFC 6455 writes them. */
const is = (name: string, usual: string, lower: string): boolean =>
  (name.charCodeAt(0) | LOWER_CASE) === lower.charCodeAt(0) && (name === usual || name.toLowerCase() === lower);

function more(lines: Kept, value: string): Kept {
  if (lines === undefined) return value;
  if (typeof lines === 'string') return [lines, value];
  lines.push(value);
  return lines;
}
