import { createRequire } from 'node:module';

/**
 * uWebSockets.js is on no registry under its own name. `BENCH_UWS` names a binary of it (`uws_linux_x64_115.node`) for
 * this Node and machine; without one a row says that it has none.
 */
export function loadUws() {
  const file = process.env.BENCH_UWS;
  if (!file) return undefined;
  try {
    return createRequire(import.meta.url)(file);
  } catch {
    return undefined;
  }
}

/** The key of its server where there is a binary that loads. */
export async function uwsHere() {
  if (loadUws() !== undefined) return ['uws'];
  console.log('uWebSockets.js is left out: BENCH_UWS names no binary that loads here.\n');
  return [];
}
