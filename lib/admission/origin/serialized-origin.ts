import { canonicalHost, MAX_PORT } from '../host/host-name.js';

export interface WebOrigin {
  readonly scheme: string;
  readonly host: string;
  /** The default port of the scheme where none was written; `undefined` where the scheme has none. */
  readonly port: number | undefined;
}

/** Lower case only: that is how a browser writes it (RFC 6454, section 6.1), and whoever does not is not compared. */
const ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/([a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])(?::([1-9]\d{0,4}))?$/;

const DEFAULT_PORTS = new Map([
  ['http', 80],
  ['https', 443],
]);

/** Reads the value of an `Origin` header; `undefined` for `null`, for several origins and for anything but one. */
export function parseOrigin(text: string): WebOrigin | undefined {
  const [, scheme, host, digits] = ORIGIN.exec(text) ?? [];
  if (scheme === undefined || host === undefined) return undefined;
  const port = digits === undefined ? DEFAULT_PORTS.get(scheme) : Number(digits);
  return (port ?? 0) > MAX_PORT ? undefined : { scheme, host: canonicalHost(host), port };
}

export const sameOrigin = (a: WebOrigin, b: WebOrigin): boolean =>
  a.scheme === b.scheme && a.host === b.host && a.port === b.port;
