import { formatIPv6, parseIPv6 } from '../ipv6.js';

const LABELS = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/;
const NAME = /^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])$/;

export const MAX_PORT = 65_535;

/** A host as a browser writes it: lower case, IDNA in ASCII, an address in its canonical form; `undefined` for none. */
export function normalizeHost(text: string): string | undefined {
  if (/[\s/?#@\\%]/.test(text) || text === '') return undefined;
  try {
    const { hostname } = new URL(`http://${text}`);
    return NAME.test(hostname) ? hostname : undefined;
  } catch {
    return undefined;
  }
}

/** A name as it is, an IPv6 literal (in brackets) in its one canonical form: there are many ways to write it. */
export function canonicalHost(host: string): string {
  const words = host.startsWith('[') ? parseIPv6(host.slice(1, -1)) : undefined;
  return words === undefined ? host : `[${formatIPv6(words)}]`;
}

/** Whether `host` is one or more whole labels before `suffix`, which begins with a dot. */
export const isUnder = (host: string, suffix: string): boolean =>
  host.endsWith(suffix) && LABELS.test(host.slice(0, -suffix.length));

/** The `.example.com` of `*.example.com`, normalised; `undefined` where the rest is no name. */
export function wildcardSuffix(pattern: string): string | undefined {
  const base = normalizeHost(pattern.slice(2));
  return base === undefined || base.startsWith('[') || /^[\d.]+$/.test(base) ? undefined : `.${base}`;
}
