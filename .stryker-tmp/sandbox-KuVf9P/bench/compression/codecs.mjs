// @ts-nocheck
import { createRequire } from 'node:module';
import { Compression } from '../../dist/compression/compression.js';
import { ContextBudget } from '../../dist/compression/context-budget.js';

const { PerMessageDeflate } = createRequire(import.meta.url)('ws');

const OFFER = [{ name: 'permessage-deflate', params: [['client_max_window_bits', true]] }];
const MAX_SIZE = 64 * 1024 * 1024;

/** What a row says → a function that makes both ends of one connection. */
export function connectionsOf({ kind, mode, windowBits, memLevel, level, threshold }) {
  if (kind === 'ws') return theirs({ tuned: mode === 'tuned', level });
  const settings = { mode, windowBits, memLevel, level, threshold, maxSize: MAX_SIZE };
  const budget = new ContextBudget(Number.MAX_SAFE_INTEGER);
  const server = new Compression(settings, budget);
  return () => ({ sender: server.accept(OFFER), receiver: server.accept(OFFER) });
}

/** `ws` with its defaults, or with the settings that its documentation advises for little memory. */
function theirs({ tuned }) {
  const zlibDeflateOptions = tuned ? { windowBits: 12, memLevel: 5 } : {};
  const windows = tuned ? { server_max_window_bits: ['12'], client_max_window_bits: ['12'] } : {};
  const contexts = tuned ? { server_no_context_takeover: [true], client_no_context_takeover: [true] } : {};
  const make = () => {
    const peer = new PerMessageDeflate({ isServer: true, maxPayload: MAX_SIZE, zlibDeflateOptions });
    peer.accept([{ ...windows, ...contexts }]);
    return peer;
  };
  return () => ({ sender: make(), receiver: make() });
}

export const compress = (peer, data) =>
  new Promise((resolve, reject) =>
    peer.compress(data, true, (error, result) => (error ? reject(error) : resolve(result))),
  );

export const decompress = (peer, data) =>
  new Promise((resolve, reject) =>
    peer.decompress(data, true, (error, result) => (error ? reject(error) : resolve(result))),
  );
