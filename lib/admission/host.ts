import { canonicalHost, type HostPort, isUnder, MAX_PORT, normalizeHost, wildcardSuffix } from '../http/host.js';

interface HostPattern {
  /** `.example.com` for names under it, else the whole name. */
  readonly name: string;
  readonly port: number | undefined;
}

/** `connections.allowedHosts`, compiled. An entry without a port matches every port. */
export class AllowedHosts {
  constructor(private readonly patterns: readonly HostPattern[] | 'any') {}

  has(host: HostPort): boolean {
    return this.patterns === 'any' || this.patterns.some((pattern) => matches(pattern, host));
  }
}

const matches = ({ name, port }: HostPattern, host: HostPort): boolean =>
  (port === undefined || port === host.port) &&
  (name.startsWith('.') ? isUnder(host.name, name) : name === canonicalHost(host.name));

/** `undefined` if the host is allowed, else the compared values, for the log. */
export const hostMismatch = (allowed: AllowedHosts | undefined, host: HostPort): string | undefined =>
  allowed === undefined || allowed.has(host) ? undefined : `Host '${host.name}' is not in allowedHosts`.slice(0, 300);

/**
 * Compiles names, addresses (IPv6 in brackets), `*.example.com` and `*`. Returns all error texts instead if there are
 * any.
 */
export function parseAllowedHosts(entries: readonly string[]): AllowedHosts | string[] {
  const parsed = entries.filter((entry) => entry !== '*').map(parseEntry);
  const problems = parsed.filter((each) => typeof each === 'string');
  if (problems.length > 0) return problems;
  return new AllowedHosts(entries.includes('*') ? 'any' : parsed.filter((each) => typeof each !== 'string'));
}

const ENTRY = /^(\[[^\]]*\]|[^:]*)(?::([1-9]\d{0,4}))?$/;

function parseEntry(entry: string): HostPattern | string {
  const [, host = '', digits] = ENTRY.exec(entry) ?? [];
  const port = digits === undefined ? undefined : Number(digits);
  const name = host.startsWith('*.') ? wildcardSuffix(host) : normalizeHost(host);
  if (name !== undefined && (port ?? 0) <= MAX_PORT) return { name: canonicalHost(name), port };
  return `'${entry}' is not a valid host such as 'app.example', 'app.example:8443', '*.example.com' or '[::1]'`;
}
