import { type Lines, linesOf } from './fields.js';
import { TCHAR } from './grammar.js';

/**
 * One element of `Sec-WebSocket-Extensions` as it was offered: repeated parameters are kept, so that negotiation can
 * decline them.
 */
export interface ExtensionOffer {
  readonly name: string;
  /** `true`: the parameter has no value. Quotes are removed from values. */
  readonly params: readonly (readonly [name: string, value: string | true])[];
}

/** Maximum number of offers, and of consecutive empty elements; an honest client sends fewer. */
export const MAX_OFFERS = 8;

const NAME = new RegExp(`[\\t ]*([${TCHAR}]+)[\\t ]*`, 'y');
/** An empty element, including the comma after it. */
const EMPTY = /[\t ]*(?:,|$)/y;
const PARAM = new RegExp(`;[\\t ]*([${TCHAR}]+)(?:=(?:([${TCHAR}]+)|"((?:\\\\?[${TCHAR}])+)"))?[\\t ]*`, 'y');

/** The offers of browsers and of `ws`, which are parsed once and shared. */
const USUAL = 'permessage-deflate; client_max_window_bits';
const USUAL_OFFERS = offersOf([USUAL])!;

/**
 * Parses the `Sec-WebSocket-Extensions` lines of a head (RFC 6455, section 9.1): a list that may span lines, whose
 * values are tokens, quoted or not. Empty elements, and therefore empty lines, are ignored (RFC 9110, 5.6.1.2). Returns
 * `undefined` for invalid syntax, or for more than eight offers.
 */
export function parseExtensions(lines: Lines): readonly ExtensionOffer[] | undefined {
  return lines === USUAL ? USUAL_OFFERS : offersOf(linesOf(lines));
}

function offersOf(lines: readonly string[]): readonly ExtensionOffer[] | undefined {
  const offers: ExtensionOffer[] = [];
  for (const line of lines) if (!parseLine(line, offers)) return undefined;
  return offers;
}

function parseLine(line: string, offers: ExtensionOffer[]): boolean {
  let at = 0;
  for (let empty = 0; at < line.length; ) {
    EMPTY.lastIndex = at;
    if (EMPTY.test(line)) {
      at = EMPTY.lastIndex;
      if (++empty > MAX_OFFERS) return false;
      continue;
    }
    NAME.lastIndex = at;
    const name = NAME.exec(line)?.[1];
    if (name === undefined || offers.length === MAX_OFFERS) return false;
    const params: [string, string | true][] = [];
    at = parseParams(line, NAME.lastIndex, params);
    offers.push({ name, params });
    if (at < line.length && line[at++] !== ',') return false;
  }
  return true;
}

/** Parses parameters; returns the index after the last one. */
function parseParams(line: string, start: number, params: [string, string | true][]): number {
  let at = start;
  let match: RegExpExecArray | null;
  PARAM.lastIndex = at;
  while ((match = PARAM.exec(line)) !== null) {
    params.push([match[1]!, match[2] ?? match[3]?.replaceAll('\\', '') ?? true]);
    at = PARAM.lastIndex;
  }
  return at;
}
