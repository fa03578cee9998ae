/** What makes a list wrong, said for its error; the rooms of the guards know. */

import { parseAllowedHosts } from '../admission/host/allowed-hosts.js';
import { parseAddressList } from '../admission/ip/address-list.js';
import { parseAllowedOrigins } from '../admission/origin/allowed-origins.js';

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

export const addressProblem = (values: readonly string[]): string | undefined => firstProblem(parseAddressList(values));
export const originProblem = (values: readonly string[]): string | undefined =>
  firstProblem(parseAllowedOrigins(values));
export const hostProblem = (values: readonly string[]): string | undefined => firstProblem(parseAllowedHosts(values));

export function subprotocolProblem(values: readonly string[]): string | undefined {
  const bad = values.find((value) => !TOKEN.test(value));
  if (bad !== undefined) return `'${bad}' is not a token`;
  return new Set(values).size === values.length ? undefined : 'a subprotocol is named twice';
}

const firstProblem = (parsed: unknown): string | undefined => (Array.isArray(parsed) ? String(parsed[0]) : undefined);
