// @ts-nocheck
import { type Lines, linesOf } from './fields.js';
import { TCHAR } from './grammar.js';

/** One element of `Sec-WebSocket-Extensions`, as it was offered: repeated parameters stay, for negotiation to decline. */
export interface ExtensionOffer {
  readonly name: string;
  /** `true`: the parameter came without a value. Quotes are taken off values. */
  readonly params: readonly (readonly [name: string, value: string | true])[];
}

/** More offers than these are no honest list. */
export const MAX_OFFERS = 8;

const NAME = new RegExp(`[\\t ]*([${TCHAR}]+)[\\t ]*`, 'y');
const PARAM = new RegExp(`;[\\t ]*([${TCHAR}]+)(?:=(?:([${TCHAR}]+)|"((?:\\\\?[${TCHAR}])+)"))?[\\t ]*`, 'y');

/** What browsers, and `ws`, offer: read once, and shared by all who do. */
const USUAL = 'permessage-deflate; client_max_window_bits';
const USUAL_OFFERS = offersOf([USUAL])!;

/**
 * Parses the `Sec-WebSocket-Extensions` lines of a head (RFC 6455, section 9.1): a list that may span lines, each value
 * a token, quoted or not. Undefined when the grammar is broken or there are more than eight offers.
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
  for (let at = 0; ; at++) {
    NAME.lastIndex = at;
    const name = NAME.exec(line)?.[1];
    if (name === undefined || offers.length === MAX_OFFERS) return false;
    const params: [string, string | true][] = [];
    at = parseParams(line, NAME.lastIndex, params);
    offers.push({ name, params });
    if (at === line.length) return true;
    if (line[at] !== ',') return false;
  }
}

/** Reads parameters as long as there are any; returns the place behind the last. */
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
