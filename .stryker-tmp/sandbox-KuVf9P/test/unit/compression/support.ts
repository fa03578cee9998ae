// @ts-nocheck
import { Compression } from '../../../lib/compression/compression.js';
import { ContextBudget } from '../../../lib/compression/context-budget.js';
import type { ExtensionOffer } from '../../../lib/compression/parameters.js';
import type { PeerDeflate } from '../../../lib/compression/peer-deflate.js';
import type { CompressionSettings } from '../../../lib/compression/settings.js';

export const DEFAULTS: CompressionSettings = {
  mode: 'shared',
  windowBits: 12,
  memLevel: 5,
  level: 6,
  threshold: 256,
  maxSize: 1024 * 1024,
};

export const BROWSER_OFFER: ExtensionOffer[] = [
  { name: 'permessage-deflate', params: [['client_max_window_bits', true]] },
];

export const budgetOf = (mebibytes: number): ContextBudget => new ContextBudget(mebibytes * 1024 * 1024);

export function peerWith(
  settings: Partial<CompressionSettings> = {},
  offers: readonly ExtensionOffer[] = BROWSER_OFFER,
): PeerDeflate {
  const peer = new Compression({ ...DEFAULTS, ...settings }, budgetOf(64)).accept(offers);
  if (peer === undefined) throw new Error('nothing was agreed');
  return peer;
}

export const deflated = (peer: PeerDeflate, data: Buffer | string, fin = true): Promise<Buffer> =>
  new Promise((resolve, reject) =>
    peer.compress(data, fin, (error, result) => (result ? resolve(result) : reject(error))),
  );

export const inflated = (peer: PeerDeflate, data: Buffer, fin = true): Promise<Buffer> =>
  new Promise((resolve, reject) =>
    peer.decompress(data, fin, (error, result) => (result ? resolve(result) : reject(error))),
  );

/** A whole message, received in fragments cut at these places. */
export async function inflatedInParts(peer: PeerDeflate, message: Buffer, cuts: readonly number[]): Promise<Buffer> {
  const places = [...cuts].sort((a, b) => a - b);
  const parts: Buffer[] = [];
  let from = 0;
  for (const to of places) {
    parts.push(await inflated(peer, message.subarray(from, to), false));
    from = to;
  }
  parts.push(await inflated(peer, message.subarray(from)));
  return Buffer.concat(parts);
}

/** The close code that an inflation ends with; 0 when it does not. */
export const closeCodeOf = (result: Promise<Buffer>): Promise<number> =>
  result.then(
    () => 0,
    (error: { closeCode?: number }) => error.closeCode ?? -1,
  );
