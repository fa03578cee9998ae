import { hash } from 'node:crypto';
import { type ExtensionOffer, parseExtensions } from './extensions.js';
import { Fields, linesOf, only } from './fields.js';
import { detach, splitList, TCHAR } from './grammar.js';
import type { RequestHead } from './head.js';
import { type HostPort, parseHost } from './host.js';
import { REFUSALS, type Refusal, withDetail } from './refusal.js';

/** RFC 6455, section 1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** `Sec-WebSocket-Accept` for a key (RFC 6455, section 4.2.2, item 5.4). */
export const acceptOf = (key: string): string => hash('sha1', key + GUID, 'base64');

/**
 * A valid upgrade request (RFC 6455, section 4.2.1). The parts that a connection keeps (query, origin, subprotocols) do
 * not hold the head in memory; the other strings may, if the head is small.
 */
export interface UpgradeRequest {
  readonly head: RequestHead;
  /** The raw target up to `?`, without scheme and authority: compared byte for byte, never normalised. */
  readonly path: string;
  /** The part after the first `?`; empty if there is none. */
  readonly rawQuery: string;
  readonly host: HostPort;
  /** As received; `undefined` if there is none. */
  readonly origin: string | undefined;
  /** `Sec-WebSocket-Key`. */
  readonly key: string;
  /** Offered subprotocols in order. */
  readonly protocols: readonly string[];
  readonly extensions: readonly ExtensionOffer[];
}

/** The request while the checks fill it in. */
type Draft = { -readonly [Field in keyof UpgradeRequest]: UpgradeRequest[Field] };

type Check = (draft: Draft, fields: Fields) => Refusal | undefined;

/** Maximum number of subprotocols in one request; an honest client sends fewer. */
export const MAX_PROTOCOLS = 16;

/** Maximum number of elements of a line that are read, so that thousands of commas cost no more. */
const MAX_ELEMENTS = 64;

const NO_HOST: HostPort = Object.freeze({ name: '', port: undefined });
const NOTHING: readonly never[] = Object.freeze([]);

/** Sixteen bytes in base64: the last of 22 digits has two significant bits (RFC 6455, section 4.1). */
const KEY = /^[+/0-9A-Za-z]{21}[AQgw]==$/;
const TOKEN = new RegExp(`^[${TCHAR}]+$`);
/**
 * Headers that this library, proxies or applications base decisions on. A proxy removes a header that `Connection`
 * names (RFC 9110, section 7.6.1).
 */
const PROTECTED_HEADERS =
  /^(?:host|origin|cookie|(?:proxy-)?authorization|content-length|transfer-encoding|forwarded|via|x-forwarded-.*|x-real-ip|x-client-ip|x-cluster-client-ip|x-api-key|true-client-ip|(?:cf|fastly|fly|do)-.*|sec-.*)$/;

const malformed = (detail: string): Refusal => Object.freeze(withDetail(REFUSALS.malformedRequest, detail));
const BAD = Object.freeze({
  target: malformed('the request target is neither in origin form nor in absolute form with the authority of Host'),
  host: malformed('not exactly one valid Host'),
  connection: malformed('Connection does not list upgrade, or lists a header that decisions are based on'),
  key: malformed('not exactly one Sec-WebSocket-Key of sixteen bytes in base64'),
  version: malformed('not exactly one Sec-WebSocket-Version'),
  body: malformed('an upgrade request must not have a body'),
  origin: malformed('more than one Origin'),
  protocols: malformed('Sec-WebSocket-Protocol is not a list of at most 16 distinct tokens'),
  extensions: malformed('Sec-WebSocket-Extensions is not a list of at most 8 extensions'),
});

/** Only GET (RFC 6455, section 4.2.1, item 1). */
const method: Check = ({ head }) => (head.method === 'GET' ? undefined : REFUSALS.method);

/** Only HTTP/1.1; there is no later version of this syntax (RFC 6455, section 4.2.1, item 1; RFC 9112, section 2.3). */
const httpVersion: Check = ({ head }) => (head.version === '1.1' ? undefined : REFUSALS.httpVersion);

/** Exactly one valid `Host` (RFC 9112, section 3.2; RFC 6455, section 4.2.1, item 2). */
const host: Check = (draft, fields) => {
  const value = only(fields.host);
  const parsed = value === undefined ? undefined : parseHost(value);
  if (parsed === undefined) return BAD.host;
  draft.host = parsed;
  return undefined;
};

/**
 * Origin form, or absolute form whose authority is that of `Host` (RFC 9112, sections 3.2.1 and 3.2.2; RFC 6455,
 * section 4.2.1, item 1); not authority or asterisk form.
 */
const target: Check = (draft) => {
  const path = pathOf(draft.head.target, draft.host);
  if (path === undefined) return BAD.target;
  const query = path.indexOf('?');
  draft.path = query < 0 ? path : path.slice(0, query);
  draft.rawQuery = query < 0 ? '' : detach(path.slice(query + 1));
  return undefined;
};

const ABSOLUTE = /^(https?|wss?):\/\/([^/?]*)(.*)$/i;

/** Path and query of a target. */
function pathOf(target: string, host: HostPort): string | undefined {
  if (target.startsWith('/')) return target;
  const [, scheme, authority, rest] = ABSOLUTE.exec(target) ?? [];
  const named = authority === undefined ? undefined : parseHost(authority);
  if (named === undefined || named.name !== host.name) return undefined;
  const usual = scheme!.length === 'https'.length || scheme!.toLowerCase() === 'wss' ? 443 : 80;
  if ((named.port ?? usual) !== (host.port ?? usual)) return undefined;
  return rest!.startsWith('/') ? rest : `/${rest}`;
}

/** Path and query of a target in absolute form, whatever its authority. */
export const originForm = (target: string): string =>
  target.replace(/^(?:https?|wss?):\/\/[^/?]*(\/?)/i, (_, slash: string) => slash || '/');

/** `websocket` must be in the list (RFC 6455, section 4.2.1, item 3; RFC 9110, section 7.8). */
const upgrade: Check = (_, fields) => {
  if (fields.upgrade === 'websocket') return undefined;
  for (const line of linesOf(fields.upgrade)) {
    if (splitList(line.toLowerCase(), MAX_ELEMENTS).includes('websocket')) return undefined;
  }
  return REFUSALS.notAnUpgrade;
};

/**
 * `upgrade` must be in the list, and no header that decisions are based on, because proxies remove headers that
 * `Connection` names (RFC 6455, section 4.2.1, item 4; RFC 9110, section 7.6.1).
 */
const connection: Check = (_, fields) => {
  if (fields.connection === 'Upgrade') return undefined;
  let wanted = false;
  for (const line of linesOf(fields.connection)) {
    const options = splitList(line.toLowerCase(), MAX_ELEMENTS);
    if (options.length === MAX_ELEMENTS) return BAD.connection;
    for (const option of options) {
      if (option === '' || option === 'keep-alive') continue;
      if (!TOKEN.test(option) || PROTECTED_HEADERS.test(option)) return BAD.connection;
      wanted ||= option === 'upgrade';
    }
  }
  return wanted ? undefined : BAD.connection;
};

/** Exactly one nonce of sixteen bytes (RFC 6455, section 4.2.1, item 5). */
const key: Check = (draft, fields) => {
  const value = only(fields.key);
  if (value === undefined || !KEY.test(value)) return BAD.key;
  draft.key = value;
  return undefined;
};

/** Exactly one version, 13 (RFC 6455, section 4.2.1, item 6; 4.2.2, item 4). */
const webSocketVersion: Check = (_, fields) => {
  const value = only(fields.version);
  if (value === undefined) return BAD.version;
  return value === '13' ? undefined : REFUSALS.websocketVersion;
};

/** No body, however it is announced (RFC 9112, section 6); one `Content-Length: 0` announces none. */
const body: Check = (_, { contentLength, transferEncoding }) => {
  const announced = contentLength !== undefined && contentLength !== '0';
  return announced || transferEncoding !== undefined ? BAD.body : undefined;
};

/** At most one `Origin` (RFC 6454, section 7.3; RFC 6455, section 4.2.1, item 7). */
const origin: Check = (draft, fields) => {
  if (fields.origin === undefined) return undefined;
  const value = only(fields.origin);
  if (value === undefined) return BAD.origin;
  draft.origin = detach(value);
  return undefined;
};

/** Distinct tokens, on one line or several (RFC 6455, section 4.1, item 10; 11.3.4). */
const protocols: Check = (draft, fields) => {
  if (fields.protocol === undefined) return undefined;
  const offered = linesOf(fields.protocol).flatMap((line) => splitList(line, MAX_ELEMENTS));
  if (offered.length > MAX_PROTOCOLS || new Set(offered).size < offered.length) return BAD.protocols;
  if (!offered.every((protocol) => TOKEN.test(protocol))) return BAD.protocols;
  draft.protocols = offered.map(detach);
  return undefined;
};

/** Only the syntax is checked; the contents are for negotiation (RFC 6455, section 9.1). */
const extensions: Check = (draft, fields) => {
  if (fields.extensions === undefined) return undefined;
  const offers = parseExtensions(fields.extensions);
  if (offers === undefined) return BAD.extensions;
  draft.extensions = offers;
  return undefined;
};

const CHECKS: readonly Check[] = [
  method,
  httpVersion,
  host,
  target,
  upgrade,
  connection,
  key,
  webSocketVersion,
  body,
  origin,
  protocols,
  extensions,
];

/**
 * Stage 3: checks a request against RFC 6455, section 4.2.1, in its order, and returns the first refusal. Accepts heads
 * of this library's parser and of Node's (`method`, `url`, `httpVersion`, `rawHeaders`). Never throws.
 */
export function checkRequest(head: RequestHead): UpgradeRequest | Refusal {
  const draft: Draft = {
    head,
    path: '',
    rawQuery: '',
    host: NO_HOST,
    origin: undefined,
    key: '',
    protocols: NOTHING,
    extensions: NOTHING,
  };
  const fields = new Fields(head.rawHeaders);
  // A loop by index, because an iterator allocates an object per step until V8 has optimised the function.
  for (let i = 0; i < CHECKS.length; i++) {
    const refusal = CHECKS[i]!(draft, fields);
    if (refusal !== undefined) return refusal;
  }
  return draft;
}
