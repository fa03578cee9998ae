import { isUnder, normalizeHost, wildcardSuffix } from '../host/host-name.js';
import { parseOrigin, sameOrigin, type WebOrigin } from './serialized-origin.js';

/** `connections.allowedOrigins`, compiled. A host that begins with a dot stands for the names under it. */
export class AllowedOrigins {
  readonly #origins: readonly WebOrigin[];
  readonly #any: boolean;
  readonly #null: boolean;

  constructor(origins: readonly WebOrigin[], any: boolean, opaque: boolean) {
    this.#origins = origins;
    this.#any = any;
    this.#null = opaque;
  }

  /** Judges the value of an `Origin` header. */
  has(origin: string): boolean {
    if (this.#any) return true;
    if (origin === 'null') return this.#null;
    const parsed = parseOrigin(origin);
    return parsed !== undefined && this.#origins.some((allowed) => matches(allowed, parsed));
  }
}

function matches(allowed: WebOrigin, origin: WebOrigin): boolean {
  if (!allowed.host.startsWith('.')) return sameOrigin(allowed, origin);
  return allowed.scheme === origin.scheme && allowed.port === origin.port && isUnder(origin.host, allowed.host);
}

/**
 * Compiles origins such as `https://app.example`, `https://*.example.com`, `chrome-extension://…`, `*` and `null`;
 * every problem instead, as a sentence each, where an entry is none of these.
 */
export function parseAllowedOrigins(entries: readonly string[]): AllowedOrigins | string[] {
  const parsed = entries.filter((entry) => entry !== '*' && entry !== 'null').map(parseEntry);
  const problems = parsed.filter((each) => typeof each === 'string');
  if (problems.length > 0) return problems;
  const origins = parsed.filter((each) => typeof each !== 'string');
  return new AllowedOrigins(origins, entries.includes('*'), entries.includes('null'));
}

const ENTRY = /^([a-z][a-z0-9+.-]*):\/\/([^:/[]*|\[[^\]]*\])(:\d+)?(\/)?$/i;

function parseEntry(entry: string): WebOrigin | string {
  const [, scheme, host, port = '', slash] = ENTRY.exec(entry) ?? [];
  if (scheme === undefined || host === undefined) return noOrigin(entry);
  if (slash) return `'${entry}' is no origin: write '${entry.slice(0, -1)}', without the slash`;
  if (/^wss?$/i.test(scheme)) return `'${entry}' is no origin of a page: write '${entry.replace(/^ws/i, 'http')}'`;
  return host.startsWith('*.') ? parseWildcard(entry, scheme, host, port) : parseExact(entry, scheme, host, port);
}

function parseExact(entry: string, scheme: string, host: string, port: string): WebOrigin | string {
  const name = /^https?$/i.test(scheme) ? normalizeHost(host) : host.toLowerCase();
  return parseOrigin(`${scheme.toLowerCase()}://${name ?? ''}${port}`) ?? noOrigin(entry);
}

function parseWildcard(entry: string, scheme: string, host: string, port: string): WebOrigin | string {
  const suffix = wildcardSuffix(host);
  const base = suffix === undefined ? undefined : parseOrigin(`${scheme.toLowerCase()}://${suffix.slice(1)}${port}`);
  return base === undefined ? noOrigin(entry) : { ...base, host: `.${base.host}` };
}

const noOrigin = (entry: string): string =>
  `'${entry}' is no origin such as 'https://app.example', 'https://app.example:8443' or 'https://*.example.com', nor '*' or 'null'`;
