import { detach } from '../../request/text.js';
import { type ClientAddress, parseAddress } from '../address.js';

/** `_` and the characters of an obfuscated port (RFC 7239, section 6.3). */
const PORT = /^(?:\d{1,5}|_[A-Za-z0-9._-]+)$/;

/**
 * The address in one element of a forwarding header: bare, with a port, an IPv6 address in brackets, a zone id
 * dropped. `undefined` for `unknown`, an obfuscated identifier (RFC 7239, section 6.3) and whatever else is no address.
 */
export function parseHop(text: string, ipv6Prefix: number): ClientAddress | undefined {
  const host = hostOf(text);
  return host === undefined ? undefined : parseAddress(detach(host), ipv6Prefix);
}

function hostOf(text: string): string | undefined {
  if (text.startsWith('[')) return bracketed(text);
  const colon = text.indexOf(':');
  // One colon parts a port, more are an IPv6 address.
  if (colon < 0 || text.indexOf(':', colon + 1) >= 0) return text;
  return PORT.test(text.slice(colon + 1)) ? text.slice(0, colon) : undefined;
}

function bracketed(text: string): string | undefined {
  const end = text.indexOf(']');
  const host = text.slice(1, end);
  const rest = text.slice(end + 1);
  const isWhole = end > 0 && host.includes(':') && (rest === '' || (rest.startsWith(':') && PORT.test(rest.slice(1))));
  return isWhole ? host : undefined;
}
