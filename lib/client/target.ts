import { RedirectRefusedError } from './errors.js';

/** The target of one request. */
export interface Target {
  readonly secure: boolean;
  /** Host name (punycode) or address, without brackets. */
  readonly host: string;
  readonly port: number;
  /** The value of `Host`. */
  readonly authority: string;
  /** Path and query. */
  readonly path: string;
  /** The URL, with the scheme `ws:` or `wss:`, without user, password and fragment. */
  readonly href: string;
}

/** The URL of a call, separated from its credentials. */
export interface ParsedUrl {
  readonly target: Target;
  /** `user:password`, decoded; `undefined` if the URL has none. */
  readonly credentials: string | undefined;
}

const SCHEMES: ReadonlyMap<string, 'ws:' | 'wss:'> = new Map([
  ['ws:', 'ws:'],
  ['wss:', 'wss:'],
  ['http:', 'ws:'],
  ['https:', 'wss:'],
]);

/**
 * Parses a URL (RFC 6455, section 3). A returned string is an error text; it does not repeat the URL, which may contain
 * secrets.
 */
export function parseUrl(input: string | URL): ParsedUrl | string {
  const url = asUrl(String(input));
  if (url === undefined) return 'the URL is invalid: expected a URL such as wss://host/path';
  const scheme = SCHEMES.get(url.protocol);
  if (scheme === undefined) return `the URL has the scheme '${url.protocol}': expected ws:, wss:, http: or https:`;
  if (url.href.includes('#')) return 'the URL has a fragment, which WebSocket URLs must not have (RFC 6455, section 3)';
  const credentials = credentialsOf(url);
  if (credentials === INVALID)
    return 'the user and password in the URL must be percent-encoded UTF-8, and the user must not contain a colon';
  return { target: targetOf(url, scheme), credentials };
}

/** The target of a `Location` header; a relative one is resolved against the URL of the response. */
export function redirectTarget(from: Target, location: string): Target | RedirectRefusedError {
  const url = asUrl(location, from.href);
  if (url === undefined) return new RedirectRefusedError('redirect to an invalid URL');
  const scheme = SCHEMES.get(url.protocol);
  // protection: client: schemes of redirects
  if (scheme === undefined) return new RedirectRefusedError(`redirect to the scheme '${url.protocol.slice(0, 32)}'`);
  // end protection
  // protection: client: no credentials in redirects
  if (url.username !== '' || url.password !== '') return new RedirectRefusedError('redirect to a URL with credentials');
  // end protection
  // protection: client: no redirect to plaintext
  if (from.secure && scheme === 'ws:') return new RedirectRefusedError('redirect from TLS to plaintext');
  // end protection
  return targetOf(url, scheme);
}

/** Same scheme, host and port (RFC 6454, section 5). */
export const sameOrigin = (a: Target, b: Target): boolean => a.secure === b.secure && a.authority === b.authority;

function asUrl(text: string, base?: string): URL | undefined {
  try {
    return new URL(text, base);
  } catch {
    return undefined;
  }
}

function targetOf(given: URL, scheme: 'ws:' | 'wss:'): Target {
  const url = new URL(given);
  url.protocol = scheme;
  url.username = url.password = url.hash = '';
  const secure = scheme === 'wss:';
  const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
  const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port);
  return Object.freeze({ secure, host, port, authority: url.host, path: url.pathname + url.search, href: url.href });
}

const INVALID = Symbol('invalid credentials');
const CONTROLS = /[\x00-\x1f\x7f]/;

/** Basic credentials (RFC 7617, section 2): no colon in the user, no control characters. */
function credentialsOf({ username, password }: URL): string | undefined | typeof INVALID {
  if (username === '' && password === '') return undefined;
  try {
    const user = decodeURIComponent(username);
    const credentials = `${user}:${decodeURIComponent(password)}`;
    return user.includes(':') || CONTROLS.test(credentials) ? INVALID : credentials;
  } catch {
    return INVALID;
  }
}
