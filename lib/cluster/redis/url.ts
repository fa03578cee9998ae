/** The address of Redis, parsed from `cluster.url`. */
export interface RedisAddress {
  readonly kind: 'single' | 'sentinel' | 'cluster';
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly db: number;
  /** The name of the master in the Sentinels' configuration. */
  readonly master: string | undefined;
  /** Credentials for the Sentinels themselves: `?sentinelUsername=…&sentinelPassword=…`. */
  readonly sentinelUsername: string | undefined;
  readonly sentinelPassword: string | undefined;
}

const FORM = /^(rediss?)(\+sentinel|\+cluster)?:\/\/(?:([^@/?#]*)@)?([^@/?#]+)(?:\/([^?#]*))?(?:\?([^#]*))?$/i;
const HOST = /^(?:\[([0-9a-f:.]+)\]|([^[\]:]+))(?::(\d{1,5}))?$/i;

/**
 * Parses `redis://`, `rediss://`, `redis+sentinel://host:port,host:port/name` and
 * `redis+cluster://host:port,host:port`; `rediss+…` is the same over TLS; `/2` or `?db=2` selects a database. For an
 * invalid URL it returns an error text that does not repeat the URL, which may contain a password.
 */
export function parseRedisUrl(url: string): RedisAddress | string {
  const form = FORM.exec(url.trim());
  if (form === null)
    return 'a URL redis://host:port, rediss://…, redis+sentinel://host:port,host:port/name or redis+cluster://host:port,host:port';
  const [, scheme = '', suffix = '', credentials, list = '', path = '', query = ''] = form;
  const kind = suffix === '' ? 'single' : (suffix.slice(1).toLowerCase() as 'sentinel' | 'cluster');
  const hosts = list.split(',').map((each) => hostOf(each, kind === 'sentinel' ? 26379 : 6379));
  if (hosts.some((each) => each === undefined)) return 'a URL with comma-separated hosts, each host or host:port';
  if (kind === 'single' && hosts.length > 1)
    return 'a URL with one host; several hosts need redis+sentinel:// or redis+cluster://';
  const parameters = new URLSearchParams(query);
  const known = ['db', 'sentinelUsername', 'sentinelPassword'];
  if ([...parameters.keys()].some((name) => !known.includes(name)))
    return `a URL without parameters other than ${known.join(', ')}`;
  const master = kind === 'sentinel' ? decoded(path) : undefined;
  if (kind === 'sentinel' && !master)
    return "a URL with the master's name after the Sentinels: redis+sentinel://host:port/name";
  const db = parameters.get('db') ?? (kind === 'single' ? path || '0' : '0');
  if (!/^\d{1,5}$/.test(db)) return 'a URL with a number as the database';
  if (kind === 'cluster' && (path !== '' || db !== '0'))
    return 'a URL without a database, because Redis Cluster has only one';
  const colon = credentials?.indexOf(':') ?? -1;
  const user = colon < 0 ? credentials : credentials!.slice(0, colon);
  const [username, password] = [decoded(user), colon < 0 ? undefined : decoded(credentials!.slice(colon + 1))];
  if (username === null || password === null || master === null) return 'a URL with valid percent-encoding';
  return {
    kind,
    hosts: hosts as RedisAddress['hosts'],
    tls: scheme.toLowerCase() === 'rediss',
    username: username || undefined,
    password: password || undefined,
    db: Number(db),
    master,
    sentinelUsername: parameters.get('sentinelUsername') ?? undefined,
    sentinelPassword: parameters.get('sentinelPassword') ?? undefined,
  };
}

function hostOf(text: string, defaultPort: number): { host: string; port: number } | undefined {
  const [, ipv6, name, digits] = HOST.exec(text.trim()) ?? [];
  const host = ipv6 ?? name;
  const port = digits === undefined ? defaultPort : Number(digits);
  return host === undefined || port < 1 || port > 65_535 ? undefined : { host, port };
}

function decoded(text: string | undefined): string | null | undefined {
  try {
    return text && decodeURIComponent(text);
  } catch {
    return null;
  }
}
