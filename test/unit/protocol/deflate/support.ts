import { Compression, ContextBudget } from '../../../../lib/protocol/deflate/compression.js';
import type { Inflated, PerMessageDeflate } from '../../../../lib/protocol/deflate/per-message-deflate.js';
import type { PoolUser, ZlibPool } from '../../../../lib/protocol/deflate/pool.js';
import type { CompressionSettings } from '../../../../lib/protocol/deflate/settings.js';

/** An element of a parsed `Sec-WebSocket-Extensions`. */
export interface Offer {
  readonly name: string;
  readonly params: readonly (readonly [name: string, value: string | true])[];
}

export const DEFAULTS: CompressionSettings = {
  mode: 'shared',
  windowBits: 12,
  memLevel: 5,
  level: 6,
  threshold: 256,
  maxSize: 1024 * 1024,
};

export const BROWSER_OFFER: Offer[] = [{ name: 'permessage-deflate', params: [['client_max_window_bits', true]] }];

export const budgetOf = (mebibytes: number): ContextBudget => new ContextBudget(mebibytes * 1024 * 1024);

export function peerWith(
  settings: Partial<CompressionSettings> = {},
  offers: readonly Offer[] = BROWSER_OFFER,
  pool?: ZlibPool,
): PerMessageDeflate {
  const peer = new Compression({ ...DEFAULTS, ...settings }, budgetOf(64), 'server', pool).accept(offers);
  if (peer === undefined) throw new Error('nothing was agreed');
  return peer;
}

/** The parameters of a codec as an element of the extension header. */
export const responseOf = ({ profile }: PerMessageDeflate): Offer[] => [
  {
    name: 'permessage-deflate',
    params: Object.entries(profile.agreement.params).map(([k, v]) => [k, v === true ? v : `${v}`]),
  },
];

export const userOf = (poolGroup: unknown = undefined): PoolUser => ({
  poolGroup,
  runInContext: (callback) => callback(),
});

const users = new WeakMap<PerMessageDeflate, PoolUser>();

/** One user per codec, as one per connection. */
function userFor(peer: PerMessageDeflate): PoolUser {
  let user = users.get(peer);
  if (user === undefined) users.set(peer, (user = userOf()));
  return user;
}

export const deflated = (peer: PerMessageDeflate, data: Buffer | string, fin = true): Promise<Buffer> =>
  new Promise((resolve) => {
    const now = peer.compress(Buffer.from(data as string), fin, userFor(peer), resolve);
    if (now !== undefined) resolve(now);
  });

/** Like `deflated` without a copy, because a shared payload is recognised by identity. */
export const deflatedShared = (peer: PerMessageDeflate, data: Buffer, fin = true): Promise<Buffer> =>
  new Promise((resolve) => {
    const now = peer.compress(data, fin, userFor(peer), resolve);
    if (now !== undefined) resolve(now);
  });

export const resultOf = (
  peer: PerMessageDeflate,
  data: Buffer,
  isText = false,
  user: PoolUser = userFor(peer),
): Promise<Inflated> =>
  new Promise((resolve) => {
    const now = peer.inflate(data, isText, user, resolve);
    if (now !== undefined) resolve(now);
  });

export async function inflated(peer: PerMessageDeflate, data: Buffer, isText = false): Promise<Buffer> {
  const { data: message, error } = await resultOf(peer, data, isText);
  if (message === undefined) throw new Error(`${error?.code} ${error?.errorCode}`);
  return message;
}

/** The close code of a failed inflation, or 0. */
export const closeCodeOf = async (peer: PerMessageDeflate, data: Buffer, isText = false): Promise<number> =>
  (await resultOf(peer, data, isText)).error?.code ?? 0;

/** Reproducible text that compresses like JSON. */
export const textOf = (length: number, seed = 1): Buffer => {
  let text = '';
  for (let i = seed; text.length < length; i = (i * 48271) % 2147483647) text += `{"id":${i},"name":"user ${i % 17}"}`;
  return Buffer.from(text.slice(0, length));
};

/** Reproducible bytes that do not compress. */
export const noiseOf = (length: number, seed = 1): Buffer => {
  const noise = Buffer.alloc(length);
  for (let i = 0, x = seed; i < length; i++) noise[i] = (x = (x * 48271) % 2147483647) >> 8;
  return noise;
};

/** The class `PerMessageDeflate` of `ws`. */
export interface TheirDeflate {
  accept(params: Record<string, (string | true)[]>[]): void;
  compress(data: Buffer, fin: boolean, done: (error: Error | null, result: Buffer) => void): void;
  decompress(data: Buffer, fin: boolean, done: (error: Error | null, result: Buffer) => void): void;
  cleanup(): void;
}
